/** Ways in which a database refuses spans whose names begin with `bad`. */
import assert from 'node:assert/strict';
import type { Pool } from 'pg';

const DISLIKE = `RAISE EXCEPTION 'I do not like %, of line 1', NEW.name;`;

/** Statements by what refuses. The server names the row of the COPY for the first two only. */
export const POISONS: ReadonlyMap<string, string> = new Map([
  ['a CHECK', `ALTER TABLE otel_spans ADD CONSTRAINT poison CHECK (name NOT LIKE 'bad%')`],
  [
    'a trigger before the row',
    `${trigger(DISLIKE)}
    CREATE TRIGGER poison BEFORE INSERT ON otel_spans FOR EACH ROW EXECUTE FUNCTION refuse_bad()`,
  ],
  [
    'a trigger after the row',
    `${trigger(DISLIKE)}
    CREATE TRIGGER poison AFTER INSERT ON otel_spans FOR EACH ROW EXECUTE FUNCTION refuse_bad()`,
  ],
  [
    'a deferred trigger',
    `${trigger(`RAISE EXCEPTION 'I do not like %', NEW.name USING ERRCODE = 'check_violation';`)}
    CREATE CONSTRAINT TRIGGER poison AFTER INSERT ON otel_spans DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION refuse_bad()`,
  ],
  [
    'a trigger with an error code of its own',
    `${trigger(`RAISE EXCEPTION 'I do not like %', NEW.name USING ERRCODE = 'UX001';`)}
    CREATE TRIGGER poison AFTER INSERT ON otel_spans FOR EACH ROW EXECUTE FUNCTION refuse_bad()`,
  ],
  [
    'a trigger whose statement looks as if it named a row',
    `CREATE FUNCTION refuse_bad() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        PERFORM 'otel_spans, line 1', 1 / (CASE WHEN NEW.name LIKE 'bad%' THEN 0 ELSE 1 END);
        RETURN NEW;
      END
      $$;
    CREATE TRIGGER poison AFTER INSERT ON otel_spans FOR EACH ROW EXECUTE FUNCTION refuse_bad()`,
  ],
]);

function trigger(refusal: string): string {
  return `CREATE FUNCTION refuse_bad() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF NEW.name LIKE 'bad%' THEN ${refusal} END IF;
      RETURN NEW;
    END
    $$;`;
}

export async function refuseBad(pool: Pool, poison = 'a CHECK'): Promise<void> {
  const statements = POISONS.get(poison);
  assert(statements !== undefined, poison);
  await pool.query(statements);
}

/** Ends what any `refuseBad` began. */
export async function takeAll(pool: Pool): Promise<void> {
  await pool.query(`
    DROP FUNCTION IF EXISTS refuse_bad CASCADE;
    ALTER TABLE otel_spans DROP CONSTRAINT IF EXISTS poison`);
}
