/** Requests and responses in protobuf form, made with protobufjs from the published proto files; the values are ours. */

const vector = (hex: string): Buffer => Buffer.from(hex, 'hex');

/** Ids of the one span of `MINIMAL_TRACE` and `LEGACY_TRACE`. */
export const TRACE_ID = '0102030405060708090a0b0c0d0e0f10';
export const SPAN_ID = '1112131415161718';

/** V2: a span with ids and a name. */
export const MINIMAL_TRACE = vector(`0a231221121f0a10${TRACE_ID}1208${SPAN_ID}2a0161`);

/** V1: a span with every field, and an attribute of every kind. */
export const FULL_TRACE = vector(
  '0ad4020a170a150a0c736572766963652e6e616d6512050a0373766312b5020a080a036c696212013112a5020a105b8efff798038103d269b6' +
    '33813fc60c1208eee19b7ec3c1b1741a076f743d74683a302208eee19b7ec3c1b1732a05474554202f300239004859e3faeb6f15410012f4' +
    '1efbeb6f154a100a0169120b18ffffffffffffffffff014a110a036d6178120a18ffffffffffffffff7f4a070a0162120210004a070a0173' +
    '12020a004a050a016512004a0e0a0164120921000000000000f87f4a090a017912043a0200ff4a0e0a016112092a070a030a01780a004a10' +
    '0a016b120b32090a070a016e120218015a2b0900ad2601fbeb6f151209657863657074696f6e1a150a0e657863657074696f6e2e74797065' +
    '12030a01456a210a10010101010101010101010101010101011208020202020202020235010100007a081204626f6f6d1802850101030000' +
    '1a01731a0172',
);

/** V3: a log record without a time of its own. */
export const LOG = vector(
  '0a40123e123c10091a04496e666f2a040a02686945010000004a105b8efff798038103d269b633813fc60c5208eee19b7ec3c1b1745900eb3af5' +
    'faeb6f1562026576',
);

/** V4: an exponential histogram `m`, and a gauge `g` with an integer and a double that is zero. */
export const METRICS = vector(
  '0a8a0112870112560a016d1a0173524e0a4a190200000000000000210300000000000000290000000000002440300139010000000000000042' +
    '070803120300ac0261000000000000000069000000000000144071000000000000e03f1001122d0a01672a280a121901000000000000' +
    '0031fbffffffffffffff0a12190100000000000000210000000000000000',
);

/** V5: `MINIMAL_TRACE` in the field that held spans before OTLP 0.19, with the scope `l`. */
export const LEGACY_TRACE = vector(`0a29c23e260a030a016c121f0a10${TRACE_ID}1208${SPAN_ID}2a0161`);

/** V6: a log record, which decodes as a span without ids. */
export const LOG_THAT_LOOKS_LIKE_A_SPAN = vector('0a0a120812061a04494e464f');

export const RESPONSES = {
  /** Two rejected, "bad id". */
  partial: '0a0a08021206626164206964',
  /** Nothing rejected, "w". */
  warning: '0a03120177',
  /** Code 3, "bad". */
  status: '08031203626164',
  /** Code 3, "bad", with a violation of the field `resourceSpans`: "x". */
  badRequest:
    '080312036261641a410a29747970652e676f6f676c65617069732e636f6d2f676f6f676c652e7270632e4261645265717565737412140a' +
    '120a0d7265736f757263655370616e73120178',
  /** Code 14, "busy", retry after 5 s. */
  retry:
    '080e1204627573791a300a28747970652e676f6f676c65617069732e636f6d2f676f6f676c652e7270632e5265747279496e666f12040a02' +
    '0805',
} as const;
