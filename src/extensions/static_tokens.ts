/** Knows who a request is from by bearer tokens in the configuration: for a sidecar that has no table of tokens. */
import { z } from 'zod';
import { extensionFactory, type Authenticator } from '../component.ts';
import { secret } from '../config/secret.ts';
import { ConfigError, UnauthenticatedError } from '../errors.ts';
import { SCOPES, type Identity } from '../model/identity.ts';
import { hashToken, isTenantId, TENANT_ID_FORM } from '../model/token.ts';

const MAX_TOKENS = 1_000;
/** Nothing longer is hashed. */
const MAX_TOKEN_CHARS = 512;
/** What can stand in a header behind `Bearer `. */
const TOKEN_TEXT = /^[!-~]{16,512}$/;

const tenantId = () => z.string().refine(isTenantId, TENANT_ID_FORM);

const entry = z.strictObject({
  token: secret()
    .refine((token) => TOKEN_TEXT.test(token.reveal()), '16 to 512 ASCII characters without spaces')
    .describe('The token itself, best from the environment as ${env:NAME}.'),
  org_id: tenantId().describe('Organisation that the data of this token belongs to.'),
  workspace_id: tenantId().describe('Workspace that the data of this token belongs to.'),
  target_id: tenantId().optional().describe('Target that the data of this token belongs to.'),
  scopes: z.array(z.enum(SCOPES)).min(1).default(['ingest']).describe('What the token allows.'),
});

type Entry = z.output<typeof entry>;

export const staticTokens = extensionFactory({
  type: 'static_tokens',
  config: z.strictObject({
    tokens: z.array(entry).min(1).max(MAX_TOKENS).describe('The tokens and what each stands for.'),
  }),
  create({ tokens }): StaticAuthenticator {
    const identities = identitiesByHash(tokens);
    const find = (token: string): Identity | undefined =>
      token.length > MAX_TOKEN_CHARS ? undefined : identities.get(hashToken(token));
    return {
      async authenticate(token) {
        const identity = find(token);
        if (identity === undefined) throw new UnauthenticatedError('the bearer token is unknown');
        return identity;
      },
      isKnown: (token) => find(token) !== undefined,
    };
  },
});

interface StaticAuthenticator extends Authenticator {
  /** Whether the token is good; asks nobody. */
  isKnown(token: string): boolean;
}

/**
 * By SHA-256: how long a look into the map takes depends on hashes, which nobody can steer towards the hash of a token
 * they do not know. Throws ConfigError for a token that is listed twice.
 */
function identitiesByHash(entries: readonly Entry[]): Map<string, Identity> {
  const identities = new Map<string, Identity>();
  for (const [index, { token, org_id, workspace_id, target_id, scopes }] of entries.entries()) {
    const hash = hashToken(token.reveal());
    if (identities.has(hash)) {
      throw new ConfigError([{ path: `tokens[${index}].token`, message: 'found a token that is listed before' }]);
    }
    const tenant = { orgId: org_id, workspaceId: workspace_id, targetId: target_id };
    identities.set(hash, { tenant, scopes: new Set(scopes) });
  }
  return identities;
}
