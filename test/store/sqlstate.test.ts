import assert from 'node:assert/strict';
import { DatabaseError } from 'pg';
import { suite } from 'uvu';
import { RetryableError } from '../../src/errors.ts';
import { faultOf, needsOperator, reasonOf, storeError, type Fault } from '../../src/store/sqlstate.ts';

const Codes = suite('sqlstate');

function databaseError(fields: Partial<DatabaseError>): DatabaseError {
  return Object.assign(new DatabaseError(fields.message ?? 'message', 7, 'error'), { severity: 'ERROR' }, fields);
}

/** Codes of an ERROR, by what they mean for rows. */
const codes: Readonly<Record<Fault, readonly string[]>> = {
  poison: [
    '08P01 21000 22000 22003 22007 22008 22021 22P02 22P03 22P04 22P05 23502 23503 23505 23514 23P01',
    '44000 54000 54001 P0001 P0004',
  ],
  slow: ['57014'],
  moved: [],
  passing: ['08000 08001 08003 08004 08006 08007 25006 40001 40P01 53000 53100 53200 53300 55P03 57P01 57P02 57P03'],
  operator: ['28000 28P01 3D000 3F000 42501 42P01 42703 42883 58030 XX000 XX001 XX002 0A000 38000 F0000'],
};
for (const [fault, lists] of Object.entries(codes)) {
  for (const code of lists.flatMap((list) => list.split(' '))) {
    Codes(`${code} is ${fault}`, () => {
      const cause = databaseError({ code });
      assert.equal(faultOf(cause), fault);
      const error = storeError(cause);
      assert.ok(error instanceof RetryableError);
      assert.equal(error.cause, cause);
      assert.match(error.message, new RegExp(`SQLSTATE ${code}`));
      assert.equal(needsOperator(error), fault === 'operator');
    });
  }
}

Codes('what ends the session says nothing of the data', () => {
  for (const severity of ['FATAL', 'PANIC']) {
    assert.equal(faultOf(databaseError({ code: '08P01', severity })), 'passing');
    assert.equal(faultOf(databaseError({ code: '57P01', severity })), 'passing');
  }
});

Codes('a row that found no partition, or another than when it waited, will find one', () => {
  assert.equal(faultOf(databaseError({ code: '23514', table: 'otel_spans' })), 'moved');
  assert.equal(faultOf(databaseError({ code: '23514', table: 'otel_spans', constraint: 'mine' })), 'poison');
  assert.equal(faultOf(databaseError({ code: '23514' })), 'poison', 'a trigger names no table');
});

/** What code of a trigger raises. */
function raised(code: string): Fault {
  return faultOf(databaseError({ code, routine: 'exec_stmt_raise', table: 'otel_spans' }));
}

Codes('what a trigger raises is poison whatever its code, unless the code may pass', () => {
  for (const code of ['45000', 'UX001', '42501', 'XX000', '23514']) assert.equal(raised(code), 'poison', code);
  for (const code of ['40001', '53100', '55P03', '57P03']) assert.equal(raised(code), 'passing', code);
  assert.equal(raised('57014'), 'slow');
});

Codes('what is no answer of the server may pass', () => {
  for (const thrown of [new Error('Connection terminated unexpectedly'), 'text', undefined]) {
    assert.equal(faultOf(thrown), 'passing');
    assert.equal(storeError(thrown).message, 'the database is away');
    assert.equal(needsOperator(storeError(thrown)), false);
  }
});

const advice: readonly (readonly [code: string, words: RegExp])[] = [
  ['42P01', /run `sluice migrate`/],
  ['42703', /run `sluice migrate`/],
  ['42501', /lacks rights/],
  ['28P01', /check user and password/],
  ['3D000', /check database_url/],
  ['53100', /disk is full/],
  ['XX000', /server's log/],
];
for (const [code, words] of advice) {
  Codes(`${code} tells the operator what to do`, () => {
    assert.match(storeError(databaseError({ code })).message, words);
  });
}

Codes.run();

const Reasons = suite('reason of a dead letter');

const reasons: readonly (readonly [name: string, fields: Partial<DatabaseError>, reason: string])[] = [
  [
    'names of the schema stay',
    {
      message: 'new row for relation "otel_spans_20261120" violates check constraint "short"',
      table: 'otel_spans_20261120',
      constraint: 'short',
      detail: 'Failing row contains (secret).',
    },
    'new row for relation "otel_spans_20261120" violates check constraint "short"',
  ],
  [
    'names of the schema stay, in any language',
    {
      message: 'neue Zeile für Relation »otel_spans« verletzt Check-Constraint »short«',
      table: 'otel_spans',
      constraint: 'short',
    },
    'neue Zeile für Relation "otel_spans" verletzt Check-Constraint "short"',
  ],
  [
    'a value ends the message',
    { message: 'invalid input syntax for type integer: "secret"' },
    'invalid input syntax for type integer: …',
  ],
  [
    'a value that looks like the end of a quotation',
    { message: 'value "a" secret "b" is out of range', column: 'a' },
    'value …',
  ],
  ['a value in the quotation marks of another language', { message: 'valeur « secret » hors limites' }, 'valeur …'],
  [
    'bytes of a row end the message',
    { message: 'invalid byte sequence for encoding "UTF8": 0x73 0x65' },
    'invalid byte sequence for encoding …',
  ],
  ['what code raises', { message: 'do not like secret', routine: 'exec_stmt_raise' }, 'a trigger refuses the row'],
  ['a message without quotations', { message: 'timestamp cannot be NaN' }, 'timestamp cannot be NaN'],
];
for (const [name, fields, reason] of reasons) {
  Reasons(name, () => assert.equal(reasonOf(databaseError(fields)), reason));
}

Reasons.run();
