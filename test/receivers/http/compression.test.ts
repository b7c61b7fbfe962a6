import assert from 'node:assert/strict';
import { constants, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { compressionOf, inflate as inflateWithin, type Compression } from '../../../src/receivers/http/compression.ts';
import { BOUNDLESS } from '../../support/settings.ts';

type Limits = Parameters<typeof inflateWithin>[2];

const inflate = (body: Uint8Array, kind: Compression, limits: Limits): Promise<Uint8Array> =>
  inflateWithin(body, kind, limits, BOUNDLESS.admit());

const LIMITS = { max_request_body_size: 4_194_304, max_decompression_ratio: 200 };

const compression = suite('compression');

const PACK: readonly (readonly [string, Compression, (content: Uint8Array) => Buffer])[] = [
  ['gzip', 'gzip', (content) => gzipSync(content)],
  ['deflate with its header', 'deflate', (content) => deflateSync(content)],
  ['deflate without', 'deflate', (content) => deflateRawSync(content)],
  ['zstd', 'zstd', (content) => zstdCompressSync(content)],
];

/** Text that shrinks to about a third, which no bomb does. */
const text = (bytes: number): Buffer => {
  const content = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at++) content[at] = 97 + (((at * 2_654_435_761) >>> 5) % 11);
  return content;
};

for (const [name, kind, pack] of PACK) {
  compression(`${name}: what was packed comes out, whatever it is`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 10_000 }), async (content) => {
        assert.deepEqual(Buffer.from(await inflate(pack(content), kind, LIMITS)), Buffer.from(content));
      }),
      { numRuns: 50 },
    );
    for (const bytes of [65_535, 1_000_000, LIMITS.max_request_body_size]) {
      assert.ok(text(bytes).equals(await inflate(pack(text(bytes)), kind, LIMITS)));
    }
  });

  compression(`${name}: each truncation is refused`, async () => {
    const packed = pack(Buffer.from('a short text, a short text'));
    for (let end = 1; end < packed.length; end++) {
      await assert.rejects(
        inflate(packed.subarray(0, end), kind, LIMITS),
        { name: 'InvalidDataError' },
        `${end} bytes`,
      );
    }
  });

  compression(`${name}: what follows the end is refused`, async () => {
    const packed = Buffer.concat([pack(Buffer.from('text')), Buffer.from('garbage')]);
    await assert.rejects(inflate(packed, kind, LIMITS), {
      name: 'InvalidDataError',
      message: `the body is not valid ${kind}`,
    });
  });

  compression(`${name}: garbage is refused`, async () => {
    for (const garbage of ['<html></html>', '{"resourceSpans":[]}', '\xff\xff\xff\xff']) {
      await assert.rejects(inflate(Buffer.from(garbage, 'latin1'), kind, LIMITS), { name: 'InvalidDataError' });
    }
  });

  compression(`${name}: one byte over the limit is too much`, async () => {
    const limits = { ...LIMITS, max_request_body_size: 10_000 };
    assert.equal((await inflate(pack(text(10_000)), kind, limits)).length, 10_000);
    const refusal = {
      name: 'HttpError',
      fault: 'too_large',
      message: /larger than max_request_body_size \(10000 bytes\)/,
    };
    await assert.rejects(inflate(pack(text(10_001)), kind, limits), refusal);
  });

  compression(`${name}: a bomb is stopped at the ratio, and takes no memory`, async () => {
    const bomb = pack(Buffer.alloc(100_000_000));
    const limits = { max_request_body_size: 1_073_741_824, max_decompression_ratio: 200 };
    const before = process.memoryUsage().arrayBuffers;
    let most = 0;
    const timer = setInterval(() => (most = Math.max(most, process.memoryUsage().arrayBuffers - before)), 1);
    await assert.rejects(inflate(bomb, kind, limits), {
      name: 'HttpError',
      message: /max_decompression_ratio \(200\)/,
    });
    clearInterval(timer);
    assert.ok(most < 64_000_000, `${most} bytes`);
  });

  compression(`${name}: a small text of one letter is no bomb`, async () => {
    assert.equal((await inflate(pack(Buffer.alloc(1_048_576)), kind, LIMITS)).length, 1_048_576);
    await assert.rejects(inflate(pack(Buffer.alloc(1_048_577)), kind, { ...LIMITS, max_decompression_ratio: 1 }));
  });
}

compression('several members or frames are one body', async () => {
  const [one, two] = [Buffer.from('one'), text(100_000)];
  for (const pack of [gzipSync, zstdCompressSync]) {
    const kind = pack === gzipSync ? 'gzip' : 'zstd';
    const packed = Buffer.concat([pack(one), pack(Buffer.alloc(0)), pack(two)]);
    assert.ok(Buffer.concat([one, two]).equals(await inflate(packed, kind, LIMITS)));
    const limits = { ...LIMITS, max_request_body_size: two.length };
    await assert.rejects(inflate(packed, kind, limits), { name: 'HttpError' }, 'the limit is for all together');
  }
});

compression('a zstd frame that only says to skip it holds nothing', async () => {
  const skipped = Buffer.from('502a4d180400000061626364', 'hex');
  const packed = Buffer.concat([skipped, zstdCompressSync('text'), skipped]);
  assert.equal(String(await inflate(packed, 'zstd', LIMITS)), 'text');
});

const frames = (count: number): Buffer => Buffer.concat(Array.from({ length: count }, () => zstdCompressSync('a')));

compression('a thousand frames of zstd are enough', async () => {
  assert.equal((await inflate(frames(1000), 'zstd', LIMITS)).length, 1000);
  await assert.rejects(inflate(frames(1001), 'zstd', LIMITS), { name: 'InvalidDataError' });
});

compression('a zstd window beyond 8 MiB is refused, whose memory the sender would decide about', async () => {
  const content = text(9_000_000);
  const limits = { ...LIMITS, max_request_body_size: 10_000_000 };
  const pack = (log: number): Buffer => zstdCompressSync(content, { params: { [constants.ZSTD_c_windowLog]: log } });
  assert.equal((await inflate(pack(23), 'zstd', limits)).length, content.length);
  await assert.rejects(inflate(pack(25), 'zstd', limits), { name: 'InvalidDataError' });
});

compression('no body is no error', async () => {
  for (const kind of ['identity', 'gzip', 'deflate', 'zstd'] as const) {
    assert.equal((await inflate(new Uint8Array(), kind, LIMITS)).length, 0);
  }
});

compression('names in any case, with the old alias; no lists', () => {
  for (const [header, kind] of [
    [undefined, 'identity'],
    ['', 'identity'],
    [' GZIP ', 'gzip'],
    ['x-gzip', 'gzip'],
    ['Deflate', 'deflate'],
    ['zstd', 'zstd'],
  ] as const) {
    assert.equal(compressionOf(header), kind);
  }
  for (const header of ['gzip, gzip', 'gzip, identity', 'identity, gzip', 'br', 'compress', 'gzip;q=1', 'gzip zstd']) {
    assert.throws(() => compressionOf(header), { name: 'HttpError', fault: 'unsupported_compression' }, header);
  }
});

compression.run();
