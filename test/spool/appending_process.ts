/**
 * A process that appends to a log and tells what became of it, for tests that kill it or take its disk away:
 * `node appending_process.ts DIRECTORY FIRST COUNT BODY_BYTES WAITING` appends entries `FIRST`… , so many at once, and
 * prints `ack N` or `refused N why` for each, and `done` with the most memory it had.
 */
import { SpoolLog } from '../../src/spool/log.ts';

const [directory = '', ...numbers] = process.argv.slice(2);
const [first = 0, count = 0, bodyBytes = 0, waiting = 1] = numbers.map(Number);

const log = new SpoolLog({ directory, minFreeBytes: 0 });
let visited = 0;
const { start } = await log.open({
  visit: () => (visited += 1),
  corrupt: (entries, file) => console.log(`corrupt ${entries} ${file}`),
  settled: () => undefined,
  failed: (error) => console.log(`failed ${error.message}`),
});
console.log(`visited ${visited}`);
const body = Buffer.alloc(bodyBytes, 'body');
const append = async (lane: number): Promise<void> => {
  for (let number = first + lane; number < first + count; number += waiting) {
    await log.append(Buffer.from(`${number}`), body).then(
      () => console.log(`ack ${number}`),
      (error: unknown) => console.log(`refused ${number} ${error instanceof Error ? error.message : ''}`),
    );
  }
};
await Promise.all(Array.from({ length: waiting }, (_, lane) => append(lane)));
let read = 0;
for (let place = start; ;) {
  const { entries, next } = await log.read(place, 1 << 20);
  if (entries.length === 0) break;
  read += entries.length;
  place = next;
}
await log.close();
console.log(`read ${read}`);
console.log(`done ${process.resourceUsage().maxRSS}`);
