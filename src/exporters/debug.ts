/**
 * Prints what reaches it to standard error, for a look at a pipeline: a line a batch, or with `verbosity: detailed`
 * everything, as OTLP/JSON. It keeps nothing.
 */
import { z } from 'zod';
import { DELIVERED, exporterFactory } from '../component.ts';
import { itemCount, type AnyBatch, type Signal } from '../model/batch.ts';
import { encodeRequest } from '../otlp/encode.ts';
import { protobufToJson } from '../otlp/json_encode.ts';

const ITEMS: Readonly<Record<Signal, string>> = { traces: 'spans', logs: 'log records', metrics: 'data points' };

export const debug = exporterFactory({
  type: 'debug',
  signals: ['traces', 'logs', 'metrics'],
  config: z.strictObject({
    verbosity: z
      .enum(['basic', 'detailed'])
      .default('basic')
      .describe('`basic`: a summary of each batch. `detailed`: besides, everything in it, as OTLP/JSON.'),
  }),
  create: ({ verbosity }, { id }) => ({
    async encode(batch) {
      const lines = [summary(id, batch)];
      if (verbosity === 'detailed') lines.push(protobufToJson(batch.signal, encodeRequest(batch)));
      const bytes = Buffer.from(`${lines.join('\n')}\n`, 'utf8');
      return { format: 'text', items: itemCount(batch), bytes };
    },
    async send(records) {
      for (const { bytes } of records) process.stderr.write(bytes);
      return DELIVERED;
    },
  }),
});

function summary(id: string, batch: AnyBatch): string {
  const services = batch.resources.map(({ resource }) => resource.attributes.get('service.name'));
  const named = [...new Set(services.filter((service) => typeof service === 'string'))].toSorted();
  const from = named.length > 0 ? ` from ${named.join(', ')}` : '';
  return `${id}: ${batch.signal}, ${itemCount(batch)} ${ITEMS[batch.signal]}${from}`;
}
