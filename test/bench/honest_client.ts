/**
 * The honest client of the hostile benchmark, in a process of its own, so that its times are its own: sends a small
 * request every so often, whether the one before was answered or not.
 *
 * The first message is `{url, token, everyMs}`. Every later one is answered with what it saw since the one before.
 */
import { Agent, request } from 'node:http';
import { z } from 'zod';
import { harmless, varying } from './hostile_bodies.ts';

const Task = z.object({ url: z.url(), token: z.string(), everyMs: z.number().positive() });

/** What it saw: how long each answer took, and how many answers were none, or another than success. */
export const Seen = z.object({ latenciesMs: z.array(z.number()), failures: z.int() });
export type Seen = z.output<typeof Seen>;

let seen: Seen = { latenciesMs: [], failures: 0 };

process.once('message', (message) => {
  send(Task.parse(message));
  process.on('message', () => {
    process.send?.(seen);
    seen = { latenciesMs: [], failures: 0 };
  });
});
process.once('disconnect', () => process.exit());

function send({ url, token, everyMs }: z.output<typeof Task>): void {
  const agent = new Agent({ keepAlive: true });
  const body = harmless();
  const vary = varying(body);
  const headers = { 'content-type': 'application/x-protobuf', authorization: `Bearer ${token}` };
  setInterval(() => {
    vary();
    const sentAt = performance.now();
    const sent = request(url, { method: 'POST', agent, headers }, (response) => {
      response.resume().on('end', () => {
        seen.latenciesMs.push(performance.now() - sentAt);
        if (response.statusCode !== 200) seen.failures++;
      });
    });
    sent.on('error', () => seen.failures++);
    sent.end(Buffer.from(body));
  }, everyMs);
}
