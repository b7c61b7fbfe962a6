/** The records of one request that are not kept, and why: the source of OTLP partial success. */

/** The message names so many different reasons at most; partial success must stay small. */
const MAX_REASONS = 5;

export class Rejections {
  count = 0;
  private readonly reasons = new Map<string, number>();
  private unnamed = 0;

  add(items: number, reason: string): void {
    this.count += items;
    const known = this.reasons.get(reason);
    if (known !== undefined || this.reasons.size < MAX_REASONS) this.reasons.set(reason, (known ?? 0) + items);
    else this.unnamed += items;
  }

  /** For example `2 rejected: span_id must be 8 bytes, not all zero`; empty when nothing was rejected. */
  get message(): string {
    const parts = [...this.reasons].map(([reason, items]) => `${items} rejected: ${reason}`);
    if (this.unnamed > 0) parts.push(`${this.unnamed} rejected for other reasons`);
    return parts.join('; ');
  }
}
