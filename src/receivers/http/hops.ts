/**
 * How many gateways of ours have forwarded a request, as the last of them says in the header or metadata `x-sluice-hops`.
 * Gateways that forward to one another in a circle would send the same data round for ever.
 */
import { InvalidDataError } from '../../errors.ts';

export const HOPS_HEADER = 'x-sluice-hops';

const MAX_HOPS = 3;

/**
 * @param values of the header, as many as there are; none stands for 0
 * @throws InvalidDataError for too many hops, and for what is no number of them
 */
export function hopsOf(values: readonly string[]): number {
  const [text = '0', ...others] = values;
  if (others.length > 0 || !/^\d{1,9}$/.test(text)) {
    throw new InvalidDataError(`${HOPS_HEADER} must be one whole number`);
  }
  const hops = Number(text);
  if (hops <= MAX_HOPS) return hops;
  throw new InvalidDataError(
    `${hops} gateways have forwarded the request, more than ${MAX_HOPS}: they forward to one another in a loop`,
  );
}
