/** What the hostile clients of the benchmark do, and how it has to be answered. */
import { Agent, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { generateToken } from '../../src/model/token.ts';
import * as bodies from './hostile_bodies.ts';

/** Where to send. */
export interface Target {
  readonly url: string;
  readonly port: number;
  /** A good one: hostile clients may well have one. */
  readonly token: string;
  /** How many of them there are at once. */
  readonly clients: number;
}

/** A status, `partial` for a success that tells of rejected records, or `reset` for a connection closed without any. */
type Status = number | 'partial' | 'reset';

export interface Answer {
  readonly status: Status;
  readonly ms: number;
}

export interface Attack {
  readonly name: string;
  /** Which answers are right; every other one is a fault of the gateway. */
  readonly expected: ReadonlySet<Status>;
  /** Whether it is one body that has to be refused within 64 MB. What is stored has a right to its memory. */
  readonly isBomb: boolean;
  /** Makes what takes time to make; the attack begins when the result is called, and for 0 seconds it is one body. */
  prepare(target: Target): Promise<(seconds: number) => Promise<Answer[]>>;
}

interface BodyAttack {
  readonly name: string;
  readonly status: Status;
  readonly json?: boolean;
  readonly gzip?: boolean;
  readonly make: () => Buffer;
}

/** Each body is sent again and again. */
function sending({ name, status, json = false, gzip = false, make }: BodyAttack): Attack {
  const headers = {
    'content-type': json ? 'application/json' : 'application/x-protobuf',
    ...(gzip && { 'content-encoding': 'gzip' }),
  };
  return {
    name,
    expected: new Set([status]),
    isBomb: status !== 200,
    async prepare({ url, token, clients }) {
      const body = make();
      const vary = bodies.varying(body);
      const all = { ...headers, authorization: `Bearer ${token}`, 'content-length': body.length };
      const sendOne = (agent: Agent): Promise<Answer> => {
        vary();
        return post(url, agent, all, body);
      };
      return (seconds) => repeatedly(seconds, clients, sendOne);
    },
  };
}

/** The load of nobody: what the honest client sees then is what it is compared with. */
export const QUIET: Attack = {
  name: 'nobody',
  expected: new Set(),
  isBomb: false,
  prepare: async () => (seconds) => delay(seconds * 1000, []),
};

export const ATTACKS: readonly Attack[] = [
  sending({ name: 'gzip bomb', status: 413, gzip: true, make: bodies.gzipBomb }),
  sending({ name: '4 M empty spans', status: 400, make: bodies.emptySpans }),
  sending({ name: '4 M empty attributes', status: 400, make: bodies.emptyAttributes }),
  sending({ name: '4 M empty resources', status: 400, make: bodies.emptyResources }),
  sending({ name: 'JSON 100,000 deep', status: 400, json: true, make: bodies.deepJson }),
  sending({ name: '1 M attributes', status: 'partial', make: bodies.millionAttributes }),
  sending({ name: '32,000 events in each span', status: 200, make: bodies.eventfulSpans }),
  sending({ name: 'quotes in long texts', status: 200, make: bodies.longQuotes }),
  sending({ name: '2 M nodes in 40,000 spans', status: 200, make: bodies.manyNodes }),
  sending({ name: 'legal JSON of 64 MiB', status: 200, json: true, make: bodies.largestJson }),
  sending({ name: 'legal protobuf of 64 MiB', status: 200, make: bodies.largestProtobuf }),
  {
    name: 'slow sockets',
    expected: new Set([408]),
    isBomb: false,
    prepare: async (target) => () =>
      Promise.all(Array.from({ length: SLOW_SOCKETS }, (_, i) => slowSocket(target, i % 2 === 0))),
  },
  {
    name: 'flood of bad tokens',
    expected: new Set([401, 429]),
    isBomb: false,
    prepare: async ({ url }) => {
      const headers = { 'content-type': 'application/x-protobuf' };
      const guess = (agent: Agent): Promise<Answer> =>
        post(url, agent, { ...headers, authorization: `Bearer ${generateToken('in')}` }, NOTHING);
      return (seconds) => repeatedly(seconds, FLOODING_CONNECTIONS, guess);
    },
  },
];

const SLOW_SOCKETS = 500;
const DRIBBLE_MS = 500;
const FLOODING_CONNECTIONS = 16;
const NOTHING = Buffer.alloc(0);

/** Each client at least once, and then until the time is over. */
async function repeatedly(
  seconds: number,
  clients: number,
  send: (agent: Agent) => Promise<Answer>,
): Promise<Answer[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const answers: Answer[] = [];
  const end = performance.now() + seconds * 1000;
  const client = async (): Promise<void> => {
    do answers.push(await send(agent));
    while (performance.now() < end);
  };
  await Promise.all(Array.from({ length: clients }, client));
  agent.destroy();
  return answers;
}

function post(url: string, agent: Agent, headers: Record<string, string | number>, body: Buffer): Promise<Answer> {
  const sentAt = performance.now();
  const ms = (): number => performance.now() - sentAt;
  return new Promise((resolve) => {
    const reset = (): void => resolve({ status: 'reset', ms: ms() });
    const sent = request(url, { method: 'POST', agent, headers }, (response) => {
      buffer(response).then((told) => resolve({ status: statusWith(response.statusCode, told), ms: ms() }), reset);
    });
    sent.on('error', reset);
    sent.end(body);
  });
}

/** Full success says nothing, in JSON by an empty object. */
function statusWith(status = 0, { length }: Buffer): Status {
  return status === 200 && length > '{}'.length ? 'partial' : status;
}

/** Sends one byte after another, of the headers or of the body, and never comes to the end. */
async function slowSocket({ port, token }: Target, dribblesHeaders: boolean): Promise<Answer> {
  const startedAt = performance.now();
  const socket = connect(port, '127.0.0.1');
  const head = ['POST /v1/traces HTTP/1.1', 'Host: localhost', `Authorization: Bearer ${token}`];
  if (!dribblesHeaders) head.push('Content-Type: application/x-protobuf', 'Content-Length: 1000', '');
  socket.write(`${head.join('\r\n')}\r\n`);
  const timer = setInterval(() => socket.write(dribblesHeaders ? 'x' : '\n'), DRIBBLE_MS);
  const status = await statusOf(socket);
  clearInterval(timer);
  return { status, ms: performance.now() - startedAt };
}

function statusOf(socket: Socket): Promise<Status> {
  let received = '';
  return new Promise((resolve) => {
    socket.setEncoding('latin1').on('data', (piece: string) => (received += piece));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(received)?.[1]);
      resolve(Number.isNaN(status) ? 'reset' : status);
    });
  });
}
