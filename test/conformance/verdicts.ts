/**
 * A processor that does what the resource attribute `verdict` says, so that every answer of a pipeline can be asked for
 * from outside: `drop` leaves the resource out as sampling does, `refuse` counts its items as rejected, and the rest
 * refuse the whole request. It also tells of requests that what comes after it refused.
 */
import { z } from 'zod';
import { ACCEPTED, processorFactory, type Consumer, type Outcome } from '../../src/component.ts';
import { PermanentError, QuotaError, RetryableError } from '../../src/errors.ts';
import { itemCount, type AnyBatch } from '../../src/model/batch.ts';

export const VERDICT = 'verdict';

const REFUSALS: Readonly<Record<string, () => Error>> = {
  quota: () => new QuotaError('the tenant is over its quota', 1000),
  permanent: () => new PermanentError('the data will always fail'),
  retryable: () => new RetryableError('the destination is away'),
  unknown: () => new Error('something nobody thought of'),
};

/** @param onRefused called when a later stage refused a batch */
export function verdicts(onRefused: () => void) {
  const create = <B extends AnyBatch>(_config: object, _settings: object, next: Consumer<B>): Consumer<B> => ({
    consume: (batch) => judge(batch, next, onRefused),
  });
  return processorFactory({
    type: 'verdicts',
    config: z.strictObject({}),
    create: { traces: create, logs: create, metrics: create },
  });
}

async function judge<B extends AnyBatch>(batch: B, next: Consumer<B>, onRefused: () => void): Promise<Outcome> {
  const said = batch.resources.map(({ resource }) => {
    const verdict = resource.attributes.get(VERDICT);
    return typeof verdict === 'string' ? verdict : '';
  });
  const refusal = said.map((verdict) => REFUSALS[verdict]).find((make) => make !== undefined);
  if (refusal !== undefined) throw refusal();
  const of = (verdict: string): B => ({ ...batch, resources: batch.resources.filter((_, at) => said[at] === verdict) });
  const rejected = itemCount(of('refuse'));
  const kept = of('');
  const taken = itemCount(kept) === 0 ? ACCEPTED : await next.consume(kept).catch(tell(onRefused));
  return rejected === 0 ? taken : { rejected: rejected + taken.rejected, message: 'refused, as the verdict says' };
}

const tell =
  (onRefused: () => void) =>
  (error: unknown): never => {
    onRefused();
    throw error;
  };
