/** Small real components whose ends are in memory, and a record of what happened to them. */
import { z } from 'zod';
import {
  exporterFactory,
  extensionFactory,
  processorFactory,
  receiverFactory,
  type Component,
  type ComponentFactory,
  type Consumer,
  type Consumers,
  DELIVERED,
} from '../../src/component.ts';
import { sendingQueue } from '../../src/config/sending_queue.ts';
import { ConfigError } from '../../src/errors.ts';
import { itemCount, type AnyBatch } from '../../src/model/batch.ts';
import type { EncodedBatch, QueueRecord } from '../../src/model/record.ts';

export interface MemoryWorld {
  readonly registry: readonly ComponentFactory[];
  /** `create`, `start` and `stop` of every component, in order. */
  readonly events: string[];
  /** What each receiver was given, by id. */
  readonly receivers: Map<string, Consumers>;
  /** Sends of each exporter, by id. */
  readonly sends: Map<string, (readonly QueueRecord[])[]>;
  /** Exporters, by id, whose sends fail from now on. */
  readonly failing: Map<string, Error>;
}

const lifecycle = z.strictObject({ fails_to_start: z.boolean().default(false) });

export function memoryWorld(): MemoryWorld {
  const world = { events: [], receivers: new Map(), sends: new Map(), failing: new Map() };
  const factories = [receiver(world), tracesOnlyReceiver(world), keep(world), limit(world), picky(), extension(world)];
  return { ...world, registry: [...factories, exporter(world, 'memory', true), exporter(world, 'direct', false)] };
}

type Ends = Omit<MemoryWorld, 'registry'>;

function component({ events }: Ends, id: string, failsToStart = false): Component {
  events.push(`create ${id}`);
  return {
    start: async () => {
      if (failsToStart) throw new Error('cannot open');
      events.push(`start ${id}`);
    },
    shutdown: async () => {
      events.push(`stop ${id}`);
    },
  };
}

function receiver(world: Ends) {
  return receiverFactory({
    type: 'memory',
    config: lifecycle,
    signals: ['traces', 'logs'],
    create: (config, { id }, next) => {
      world.receivers.set(id, next);
      return component(world, id, config.fails_to_start);
    },
  });
}

function tracesOnlyReceiver(world: Ends) {
  return receiverFactory({
    type: 'traces_only',
    config: z.strictObject({}),
    signals: ['traces'],
    create: (_config, { id }, next) => {
      world.receivers.set(id, next);
      return component(world, id);
    },
  });
}

/** Hands on the first records of each batch. */
function keep(world: Ends) {
  return processorFactory({
    type: 'keep',
    config: z.strictObject({ first: z.int().min(0).default(1) }),
    create: {
      traces: (config, { id }, next) => ({ ...component(world, id), ...firstTo(next, config.first) }),
      logs: (config, { id }, next) => ({ ...component(world, id), ...firstTo(next, config.first) }),
    },
  });
}

function firstTo<B extends AnyBatch>(next: Consumer<B>, count: number): Consumer<B> {
  return { consume: (batch) => next.consume(firstRecords(batch, count)) };
}

function firstRecords<B extends AnyBatch>(batch: B, count: number): B {
  const resources = batch.resources.map((resource) => ({
    ...resource,
    scopes: resource.scopes.map((scope) => ({ ...scope, records: scope.records.slice(0, count) })),
  }));
  return { ...batch, resources };
}

/** Says of each batch that `rejected` of its items were not kept. */
function limit(world: Ends) {
  return processorFactory({
    type: 'limit',
    config: z.strictObject({ rejected: z.int().min(0) }),
    create: {
      traces: ({ rejected }, { id }, next) => ({
        ...component(world, id),
        consume: async (batch) => {
          await next.consume(batch);
          return { rejected, message: 'over the limit' };
        },
      }),
    },
  });
}

/** Its schema takes anything; its factory finds faults. */
function picky() {
  return processorFactory({
    type: 'picky',
    config: z.looseObject({}),
    create: {
      traces: () => {
        throw new ConfigError([
          { path: 'rules[0].pattern', message: 'not a pattern' },
          { path: '', message: 'too picky' },
        ]);
      },
      logs: () => {
        throw new ConfigError([{ path: 'rules[0].pattern', message: 'not a pattern' }]);
      },
    },
  });
}

function extension(world: Ends) {
  return extensionFactory({
    type: 'memory',
    config: z.strictObject({}),
    create: (_config, { id }) => component(world, id),
  });
}

function exporter(world: Ends, type: string, isQueued: boolean) {
  return exporterFactory({
    type,
    config: z.strictObject({
      fails_to_start: z.boolean().default(false),
      sending_queue: sendingQueue().prefault({ durability: 'commit' }),
    }),
    signals: ['traces', 'logs'],
    create: (config, { id }) => ({
      ...component(world, id, config.fails_to_start),
      ...(isQueued ? { queue: config.sending_queue } : {}),
      encode: async (batch) => recordOf(batch),
      send: async (records) => {
        const error = world.failing.get(id);
        if (error) throw error;
        world.sends.set(id, [...(world.sends.get(id) ?? []), records]);
        return DELIVERED;
      },
    }),
  });
}

function recordOf(batch: AnyBatch): EncodedBatch {
  const items = itemCount(batch);
  return { format: 'v1', items, bytes: new Uint8Array(items) };
}
