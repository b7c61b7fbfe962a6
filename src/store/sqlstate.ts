/** What PostgreSQL's error codes mean for data that could not be stored. Codes: PostgreSQL manual, appendix A. */
import { DatabaseError } from 'pg';
import { RetryableError } from '../errors.ts';

/**
 * `poison`: rows will never be taken as they are. `slow`: fewer rows at once may succeed. `moved`: the same succeeds at
 * once, since its partition has come. `passing`: the same may succeed later. `operator`: it will not until somebody acts.
 */
export type Fault = 'poison' | 'slow' | 'moved' | 'passing' | 'operator';

interface Rule {
  readonly codes: RegExp;
  readonly fault: Fault;
  /** Narrows the rule to some errors of these codes. */
  readonly applies?: (error: DatabaseError) => boolean;
  /** What is wrong and what to do about it. */
  readonly advice?: string;
}

/** Severities that end a session. They say nothing about the data: poolers report an outage as FATAL with 08P01. */
const SESSION_ENDS: ReadonlySet<string | undefined> = new Set(['FATAL', 'PANIC']);

const MIGRATE = 'its tables are not those of this version: run `sluice migrate`';
const SEE_LOG = "see the database server's log";

/** The function of the server that raises what a PL/pgSQL function tells it to. */
const RAISED_BY_CODE = 'exec_stmt_raise';

/** The first rule that fits decides. */
const RULES: readonly Rule[] = [
  { codes: /^08P01$/, fault: 'passing', applies: ({ severity }) => SESSION_ENDS.has(severity) },
  { codes: /^57014$/, fault: 'slow', advice: 'it took longer than statement_timeout' },
  { codes: /^53100$/, fault: 'passing', advice: 'its disk is full' },
  { codes: /^53300$/, fault: 'passing', advice: 'it has no connection left for us' },
  { codes: /^25006$/, fault: 'passing', advice: 'it is read-only: a standby, perhaps' },
  { codes: /^(?:08(?!P01)|25|40|53|55|57)/, fault: 'passing' },
  // A trigger may raise any code, also one that nobody else knows.
  { codes: /^/, fault: 'poison', applies: ({ routine }) => routine === RAISED_BY_CODE },
  // No partition takes the row: another one was attached while it waited for that of all other days.
  {
    codes: /^23514$/,
    fault: 'moved',
    applies: ({ table, constraint }) => table !== undefined && constraint === undefined,
  },
  // P0: what PL/pgSQL itself finds wrong in a trigger.
  { codes: /^(?:08P01|21|22|23|44|54|P0)/, fault: 'poison' },
  { codes: /^28/, fault: 'operator', advice: 'it refuses the login: check user and password of database_url' },
  { codes: /^3D000$/, fault: 'operator', advice: 'there is no such database: check database_url' },
  { codes: /^42501$/, fault: 'operator', advice: 'the user of database_url lacks rights on its tables: grant them' },
  { codes: /^(?:42P01|42703|3F000)$/, fault: 'operator', advice: MIGRATE },
  { codes: /^/, fault: 'operator', advice: SEE_LOG },
];

/** Undefined for what is no answer of the server. */
function ruleFor(error: unknown): Rule | undefined {
  if (!(error instanceof DatabaseError)) return undefined;
  const { code = '' } = error;
  return RULES.find(({ codes, applies }) => codes.test(code) && (applies === undefined || applies(error)));
}

export function faultOf(error: unknown): Fault {
  return ruleFor(error)?.fault ?? 'passing';
}

/** The error for whoever sends again. Its message holds nothing of the data; its cause may. */
export function storeError(error: unknown): RetryableError {
  if (error instanceof RetryableError) return error;
  const cause = error instanceof Error ? error : new Error(String(error));
  const rule = ruleFor(cause);
  if (rule === undefined || !(cause instanceof DatabaseError))
    return new RetryableError('the database is away', { cause });
  const advice = rule.advice === undefined ? '' : `: ${rule.advice}`;
  return new RetryableError(`the database cannot store now (SQLSTATE ${cause.code})${advice}`, { cause });
}

/** Whether sending again is in vain until somebody acts; the message says what to do. */
export function needsOperator(error: RetryableError): boolean {
  return faultOf(error.cause) === 'operator';
}

/** Quotation marks of the languages that PostgreSQL speaks. */
const QUOTATION_MARK = /["«»„“”‹›「」『』]/;

/**
 * The server's message; only its beginning where anything in quotes is no name of the schema, since values of the row may
 * stand there. What a trigger raises may hold them anywhere, and is left out.
 */
export function reasonOf({ message, routine, schema, table, column, constraint, dataType }: DatabaseError): string {
  if (routine === RAISED_BY_CODE) return 'a trigger refuses the row';
  const names = new Set([schema, table, column, constraint, dataType]);
  const parts = message.split(QUOTATION_MARK);
  const isSafe = parts.every((part, i) => i % 2 === 0 || names.has(part));
  return isSafe ? parts.join('"') : `${parts[0] ?? ''}…`;
}
