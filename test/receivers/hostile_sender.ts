/** Sends one body again and again from a thread of its own, until it is told to stop; tells the statuses it saw. */
import { request } from 'node:http';
import { parentPort, workerData } from 'node:worker_threads';

const { url, body, headers }: { url: string; body: Uint8Array; headers: Record<string, string> } = workerData;

const stop = new AbortController();
parentPort?.once('message', () => stop.abort());

const send = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const sent = request(url, { method: 'POST', headers }, (answer) => {
      answer.resume().once('end', () => resolve(answer.statusCode ?? 0));
    });
    sent.on('error', reject).end(body);
  });

while (!stop.signal.aborted) parentPort?.postMessage(await send(), []);
parentPort?.close();
