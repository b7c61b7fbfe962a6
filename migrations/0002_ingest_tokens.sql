-- Bearer tokens. The table knows a token by its SHA-256 alone; it has 178 random bits, so a slow hash would add nothing.
--
-- Whoever caches tokens listens on the channel sluice_ingest_tokens. A message is the token_hash, in hex, of a token that
-- was changed or deleted, whoever did it; it is empty when that may be any token. A new last_used_at is no change.

CREATE TABLE engagement_ingest_tokens (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name text NOT NULL DEFAULT '',
  -- How the token begins, for people to tell tokens apart.
  prefix text NOT NULL,
  token_hash bytea NOT NULL UNIQUE,
  org_id text NOT NULL,
  workspace_id text NOT NULL,
  target_id text,
  scopes text[] NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by text NOT NULL DEFAULT current_user,
  expires_at timestamptz,
  -- A token is revoked when this is set, whatever time it says.
  revoked_at timestamptz,
  -- At most some minutes behind.
  last_used_at timestamptz,
  CONSTRAINT name_is_short CHECK (length(name) <= 200 AND name !~ '[[:cntrl:]]'),
  CONSTRAINT token_hash_is_sha256 CHECK (octet_length(token_hash) = 32),
  CONSTRAINT org_id_is_safe CHECK (org_id ~ '^[0-9A-Za-z!_.*''()-]{1,150}$' AND org_id NOT IN ('.', '..')),
  CONSTRAINT workspace_id_is_safe
    CHECK (workspace_id ~ '^[0-9A-Za-z!_.*''()-]{1,150}$' AND workspace_id NOT IN ('.', '..')),
  CONSTRAINT target_id_is_safe CHECK (target_id ~ '^[0-9A-Za-z!_.*''()-]{1,150}$' AND target_id NOT IN ('.', '..')),
  CONSTRAINT scopes_are_named CHECK (cardinality(scopes) > 0),
  CONSTRAINT expires_at_is_a_date CHECK (isfinite(expires_at))
);

CREATE FUNCTION notify_ingest_token_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    PERFORM pg_notify('sluice_ingest_tokens', '');
  ELSE
    PERFORM pg_notify('sluice_ingest_tokens', encode(OLD.token_hash, 'hex'));
  END IF;
  RETURN NULL;
END
$$;

CREATE TRIGGER ingest_token_changed
  AFTER UPDATE OF token_hash, org_id, workspace_id, target_id, scopes, expires_at, revoked_at OR DELETE
  ON engagement_ingest_tokens FOR EACH ROW EXECUTE FUNCTION notify_ingest_token_change();

CREATE TRIGGER ingest_tokens_truncated
  AFTER TRUNCATE ON engagement_ingest_tokens FOR EACH STATEMENT EXECUTE FUNCTION notify_ingest_token_change();
