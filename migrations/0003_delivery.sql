-- What makes delivery effectively once, and where rows go that the tables above refuse. Each send writes here in the same
-- transaction as its rows. Under Citus these stay local tables.

-- Proof that a request was stored: a hash of what came, and of its way through the gateway. A request has two rows, for
-- the UTC day on which it was received and for the next one, and is a repeat when either exists already; so the days of
-- two requests that came within 24 hours always meet. Old days are dropped as whole partitions.
CREATE TABLE receipts (
  day date NOT NULL,
  key bytea NOT NULL,
  PRIMARY KEY (day, key)
) PARTITION BY RANGE (day);

-- Days that have no partition: gateways whose clock is wrong, requests that waited long in a queue.
CREATE TABLE receipts_default PARTITION OF receipts DEFAULT;

-- Which records of the queues on the gateways' disks are stored. queue_id names one life of a queue and is never used
-- again, whatever is restored or copied. Rows are inserted, and deleted once they lie below the queue's mark.
CREATE TABLE queue_positions (
  queue_id uuid NOT NULL,
  seq bigint NOT NULL,
  PRIMARY KEY (queue_id, seq)
);

-- Every record of the queue below the mark is stored. A mark stays: an old copy of the queue's directory would otherwise
-- be stored once more. Each start of a gateway that received something leaves one.
CREATE TABLE queue_marks (
  queue_id uuid PRIMARY KEY,
  below bigint NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now()
);

-- Rows that the database refused for what they are, each with the rest of its request stored: `sluice dead-letter` shows
-- them, stores them once the cause is gone, or drops them.
CREATE TABLE dead_letters (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  dead_at timestamptz NOT NULL DEFAULT now(),
  -- Id of the exporter in the gateway's configuration.
  exporter text NOT NULL,
  -- traces, logs or metrics.
  signal text NOT NULL,
  org_id text NOT NULL,
  workspace_id text NOT NULL,
  target_id text,
  received_at timestamptz NOT NULL,
  -- Error code and message of the database; the message holds nothing of the row.
  sqlstate text NOT NULL,
  reason text NOT NULL,
  -- Names table and columns for which bytes were written: one row in binary COPY format, redacted as any other.
  format text NOT NULL,
  -- More than 1 only for bytes in which no rows can be told apart.
  items bigint NOT NULL,
  bytes bytea NOT NULL
);

CREATE INDEX dead_letters_dead_at ON dead_letters (dead_at, id);
