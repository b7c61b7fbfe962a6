/** What the sender should hear about the records of one request: the source of OTLP partial success. */

/** The message names so many different faults at most; partial success must stay small. */
const MAX_REASONS = 5;

export class Rejections {
  /** Records that are not kept. */
  count = 0;
  private readonly reasons = new Map<string, number>();
  private unnamed = 0;

  add(items: number, reason: string): void {
    this.count += items;
    this.name(items, `rejected: ${reason}`);
  }

  /** For records that are kept, though not as they came. */
  warn(items: number, what: string): void {
    this.name(items, what);
  }

  private name(items: number, reason: string): void {
    const known = this.reasons.get(reason);
    if (known !== undefined || this.reasons.size < MAX_REASONS) this.reasons.set(reason, (known ?? 0) + items);
    else this.unnamed += items;
  }

  /** For example `2 rejected: span_id must be 8 bytes, not all zero`; empty when there is nothing to say. */
  get message(): string {
    const parts = [...this.reasons].map(([reason, items]) => `${items} ${reason}`);
    if (this.unnamed > 0) parts.push(`${this.unnamed} with other faults`);
    return parts.join('; ');
  }
}
