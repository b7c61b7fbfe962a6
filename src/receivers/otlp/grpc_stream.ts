/** The HTTP/2 stream of a call, which grpc-js keeps to itself: how much has come, and how to end it early. */
import assert from 'node:assert/strict';
import { constants, type ServerHttp2Stream } from 'node:http2';
import { Duplex } from 'node:stream';
import type { ServerInterceptingCallInterface } from '@grpc/grpc-js';

/** How long a status may take to reach its client. */
const CLOSE_GRACE_MS = 100;

/** @param call as the first interceptor of a server gets it */
export function streamOf(call: ServerInterceptingCallInterface): ServerHttp2Stream {
  assert('stream' in call && isHttp2(call.stream), 'grpc-js keeps the stream in its call');
  return call.stream;
}

const isHttp2 = (value: unknown): value is ServerHttp2Stream => value instanceof Duplex && 'sentTrailers' in value;

/**
 * Tells how many bytes have come in all, with each part, before grpc-js gets to see it. The flow stays as it is: grpc-js
 * has paused the stream, and resumes it to read.
 */
export function observeBytes(stream: ServerHttp2Stream, note: (bytes: number) => void): void {
  let bytes = 0;
  stream.prependListener('data', (part: Buffer) => {
    bytes += part.length;
    note(bytes);
  });
}

/**
 * To be called once a call is over; calls back when what came of its message is let go. If the client has not finished its
 * message, that is when the stream is closed. Clients do so when they see the status; those that do not are made to (RFC
 * 9113, section 8.1), but not at once: a reset might overtake a status that still waits to be written.
 */
export function endUnread(stream: ServerHttp2Stream, done: () => void): void {
  if (stream.readableEnded || stream.destroyed) {
    done();
    return;
  }
  const timer = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), CLOSE_GRACE_MS).unref();
  stream.once('close', () => {
    clearTimeout(timer);
    done();
  });
}
