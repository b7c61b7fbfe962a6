/** What processors copy out of a record into columns of its own, or decide about it. */
export interface Promoted {
  scanId?: string;
  /** What the record is about, such as `llm` or `tool`; undefined leaves the column NULL. */
  spanType?: string;
  /** How many records this one stands for after sampling; undefined means unknown. */
  adjustedCount?: number;
}
