/**
 * Delivers one request, in parts where the destination takes less at once, and remembers from try to try what became of
 * each part, so that none arrives twice because another has to be sent again.
 */
import { splitRequest, type Request } from './request.ts';

/** What the destination did with a request, or why it was not sent. */
export type Answer =
  /** `refused`: items that the destination left out without saying which. */
  | { readonly kind: 'taken'; readonly refused: number }
  | { readonly kind: 'refused'; readonly reason: string }
  /** Half of it may be taken. `bytes` as it would be sent, before compression. */
  | { readonly kind: 'too large'; readonly bytes: number; readonly limit: string };

/** Rejects with RetryableError when the request has to be posted again. */
export type Post = (request: Request) => Promise<Answer>;

/** What became of all parts of a request. */
export interface Result {
  /** Whether any part was taken. */
  readonly isTaken: boolean;
  /** Items that the destination left out of what it took. */
  readonly refused: number;
  /** What it will never take. */
  readonly refusedParts: readonly Refusal[];
}

interface Refusal {
  readonly request: Request;
  readonly reason: string;
}

/** What is known of a request; empty before the first try. The same request always has the same parts. */
export interface Progress {
  answer?: Answer;
  halves?: readonly [Progress, Progress];
  /** Once nothing of it is to be sent any more. */
  result?: Result;
}

/**
 * A request that is too large goes in halves, and those in halves again. When one of them is refused the others are still
 * sent.
 * @throws RetryableError when something has to be sent again: called with the same progress, it sends only what is missing
 */
export async function deliver(request: Request, progress: Progress, post: Post): Promise<Result> {
  const { result = await finish(request, progress, post) } = progress;
  progress.result = result;
  return result;
}

async function finish(request: Request, progress: Progress, post: Post): Promise<Result> {
  const { answer = await post(request) } = progress;
  progress.answer = answer;
  if (answer.kind === 'taken') return { isTaken: true, refused: answer.refused, refusedParts: [] };
  if (answer.kind === 'refused') return refusal(request, answer.reason);
  const requests = await splitRequest(request);
  if (requests === undefined) return refusal(request, `one item of ${answer.bytes} bytes is more than ${answer.limit}`);
  progress.halves ??= [{}, {}];
  const [first, second] = progress.halves;
  const one = await deliver(requests[0], first, post);
  return joined(one, await deliver(requests[1], second, post));
}

function refusal(request: Request, reason: string): Result {
  return { isTaken: false, refused: 0, refusedParts: [{ request, reason }] };
}

function joined(one: Result, other: Result): Result {
  return {
    isTaken: one.isTaken || other.isTaken,
    refused: one.refused + other.refused,
    refusedParts: [...one.refusedParts, ...other.refusedParts],
  };
}
