import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { RetryableError } from '../../src/errors.ts';
import { DEFAULT_TENANT, type Tenant } from '../../src/model/tenant.ts';
import { QueueRoom } from '../../src/pipeline/queue_room.ts';

const test = suite('queue room');

const ACME: Tenant = { orgId: 'acme', workspaceId: 'w', targetId: undefined };
const OTHER: Tenant = { orgId: 'other', workspaceId: 'w', targetId: undefined };

const roomOf = (queue_size: number, sizer: 'bytes' | 'items' | 'requests' = 'bytes', max_tenant_share = 0.5) =>
  new QueueRoom({ queue_size, sizer, max_tenant_share });

const isFull = (error: unknown): boolean => error instanceof RetryableError && error.retryAfterMs === 1000;

test('is full at its size, and has room again once something leaves', () => {
  const room = roomOf(100);
  const first = room.reserve(DEFAULT_TENANT, { items: 1, bytes: 60 });
  room.reserve(DEFAULT_TENANT, { items: 1, bytes: 40 });
  assert.equal(room.isFull, true);
  assert.throws(() => room.reserve(DEFAULT_TENANT, { items: 1, bytes: 1 }), isFull);
  first.release();
  room.reserve(DEFAULT_TENANT, { items: 1, bytes: 1 });
  assert.deepEqual([room.bytes, room.items, room.records, room.used], [41, 2, 2, 41]);
});

test('counts what its sizer says', () => {
  const load = { items: 3, bytes: 1000 };
  const items = roomOf(5, 'items');
  items.reserve(DEFAULT_TENANT, load);
  assert.throws(() => items.reserve(DEFAULT_TENANT, load), isFull);
  const requests = roomOf(2, 'requests');
  requests.reserve(DEFAULT_TENANT, load);
  requests.reserve(DEFAULT_TENANT, load);
  assert.throws(() => requests.reserve(DEFAULT_TENANT, load), isFull);
});

test('takes what is larger than all its room when it is empty', () => {
  const room = roomOf(10);
  room.reserve(DEFAULT_TENANT, { items: 1, bytes: 1000 });
  assert.throws(() => room.reserve(DEFAULT_TENANT, { items: 1, bytes: 0 }), isFull);
});

test('a tenant with credentials leaves room for others', () => {
  const room = roomOf(100);
  const own = room.reserve(ACME, { items: 1, bytes: 50 });
  assert.throws(() => room.reserve(ACME, { items: 1, bytes: 1 }), isFull);
  room.reserve(OTHER, { items: 1, bytes: 50 });
  own.release();
  room.reserve(ACME, { items: 1, bytes: 50 });
});

test('what turns out smaller or larger than thought counts as what it is', () => {
  const room = roomOf(100);
  const place = room.reserve(ACME, { items: 1, bytes: 10 });
  place.resize({ items: 2, bytes: 30 });
  assert.deepEqual([room.bytes, room.items, room.records], [30, 2, 1]);
  place.release();
  assert.deepEqual([room.bytes, room.items, room.records, room.used], [0, 0, 0, 0]);
});

test('what was there before counts whether it fits or not', () => {
  const room = roomOf(10);
  const load = { items: 5, bytes: 50 };
  room.add(ACME, load);
  assert.equal(room.isFull, true);
  room.remove(ACME, load);
  assert.equal(room.used, 0);
});

test.run();
