/** What is wrong with one request, named field by field. The format has no partial success: any fault refuses it whole. */
import { InvalidDataError } from '../../errors.ts';

/** The answer names so many at most. */
const MAX_FAULTS = 5;

const MAX_FOUND_CHARACTERS = 60;

export class Faults {
  private readonly named: string[] = [];

  /**
   * Notes a fault; the message continues the path: `must be …`.
   * @throws InvalidDataError when there are enough to answer
   */
  add(path: string, message: string): void {
    this.named.push(`${path}: ${message}`);
    if (this.named.length === MAX_FAULTS) this.throwIfAny();
  }

  throwIfAny(): void {
    if (this.named.length > 0) throw new InvalidDataError(this.named.join('; '));
  }
}

/** A value as a fault quotes it. */
export function found(value: string): string {
  const short = value.length > MAX_FOUND_CHARACTERS ? `${value.slice(0, MAX_FOUND_CHARACTERS)}…` : value;
  return `found ${JSON.stringify(short.toWellFormed())}`;
}
