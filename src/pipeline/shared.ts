/** What components of one service have in common, by key: made once, for whoever asks first. */
import type { Settings } from '../component.ts';

export function createShared(): Settings['shared'] {
  const made = new Map<string, unknown>();
  return <T>(key: string, make: () => T): T => {
    if (!made.has(key)) made.set(key, make());
    // The key says what it is: those who use one agree on it.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return made.get(key) as T;
  };
}
