import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { createLogger, type LogLevel } from '../../src/telemetry/logger.ts';

const test = suite('logger');

function linesOf(level: LogLevel, write: (logger: ReturnType<typeof createLogger>) => void): string[] {
  const lines: string[] = [];
  write(createLogger(level, { write: (line) => lines.push(line) }));
  return lines;
}

test('writes one JSON object a line, with level, time and fields', () => {
  const [line = '', ...others] = linesOf('info', (logger) => logger.info({ spans: 3 }, 'stored'));
  assert.equal(others.length, 0);
  assert.match(line, /^\{.*\}\n$/);
  const { time, ...rest } = JSON.parse(line);
  assert.deepEqual(rest, { level: 'info', spans: 3, msg: 'stored' });
  assert.equal(new Date(time).toISOString(), time);
});

test('leaves out what is below its level', () => {
  const lines = linesOf('warn', (logger) => {
    logger.debug({}, 'detail');
    logger.info({}, 'news');
    logger.warn({}, 'trouble');
  });
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).msg),
    ['trouble'],
  );
});

test('keeps every digit of a bigint, also inside a field', () => {
  const [line = ''] = linesOf('info', (logger) => logger.info({ at: 18446744073709551615n, deep: { at: -1n } }, 'x'));
  assert.match(line, /"at":18446744073709551615[,}]/);
  assert.match(line, /"deep":\{"at":-1\}/);
});

test('names the component on every line of a child', () => {
  const lines = linesOf('info', (logger) => logger.child({ component: 'receiver otlp' }).info({}, 'listening'));
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).component),
    ['receiver otlp'],
  );
});

test('prints the stack and the causes of an error', () => {
  const error = new Error('cannot send', { cause: new Error('connection reset') });
  const [line = ''] = linesOf('info', (logger) => logger.error({ err: error }, 'sending failed'));
  const { err } = JSON.parse(line);
  assert.match(err.message, /cannot send/);
  assert.match(err.stack, /logger\.test\.ts[\s\S]*connection reset/);
});

test('survives a circular field', () => {
  const circle: { self?: object } = {};
  circle.self = circle;
  assert.equal(linesOf('info', (logger) => logger.info({ circle }, 'x')).length, 1);
});

test.run();
