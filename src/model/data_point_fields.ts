/** Which tag of which kind of data point means what: the four messages number the same fields differently. */

export type MetricType = 'gauge' | 'sum' | 'histogram' | 'exponential_histogram' | 'summary';

export type DataPointField =
  | 'attributes'
  | 'startTimeAt'
  | 'timeAt'
  | 'asDouble'
  | 'asInt'
  | 'exemplar'
  | 'flags'
  | 'countAt'
  | 'sumAt'
  | 'minAt'
  | 'maxAt'
  | 'bucketCounts'
  | 'explicitBounds'
  | 'scale'
  | 'zeroCountAt'
  | 'zeroThresholdAt'
  | 'positive'
  | 'negative'
  | 'quantile';

interface Layout {
  /** Tag of the attributes. */
  readonly attributes: number;
  readonly fields: Readonly<Record<number, DataPointField>>;
}

const NUMBER: Layout = {
  attributes: 0x3a,
  fields: {
    0x11: 'startTimeAt',
    0x19: 'timeAt',
    0x21: 'asDouble',
    0x2a: 'exemplar',
    0x31: 'asInt',
    0x3a: 'attributes',
    0x40: 'flags',
  },
};

const HISTOGRAM: Layout = {
  attributes: 0x4a,
  fields: {
    0x11: 'startTimeAt',
    0x19: 'timeAt',
    0x21: 'countAt',
    0x29: 'sumAt',
    0x31: 'bucketCounts',
    0x32: 'bucketCounts',
    0x39: 'explicitBounds',
    0x3a: 'explicitBounds',
    0x42: 'exemplar',
    0x4a: 'attributes',
    0x50: 'flags',
    0x59: 'minAt',
    0x61: 'maxAt',
  },
};

const EXPONENTIAL_HISTOGRAM: Layout = {
  attributes: 0x0a,
  fields: {
    0x0a: 'attributes',
    0x11: 'startTimeAt',
    0x19: 'timeAt',
    0x21: 'countAt',
    0x29: 'sumAt',
    0x30: 'scale',
    0x39: 'zeroCountAt',
    0x42: 'positive',
    0x4a: 'negative',
    0x50: 'flags',
    0x5a: 'exemplar',
    0x61: 'minAt',
    0x69: 'maxAt',
    0x71: 'zeroThresholdAt',
  },
};

const SUMMARY: Layout = {
  attributes: 0x3a,
  fields: {
    0x11: 'startTimeAt',
    0x19: 'timeAt',
    0x21: 'countAt',
    0x29: 'sumAt',
    0x32: 'quantile',
    0x3a: 'attributes',
    0x40: 'flags',
  },
};

export const DATA_POINT_FIELDS: Readonly<Record<MetricType, Layout>> = {
  gauge: NUMBER,
  sum: NUMBER,
  histogram: HISTOGRAM,
  exponential_histogram: EXPONENTIAL_HISTOGRAM,
  summary: SUMMARY,
};

/** Tags of `Exemplar`. */
export const EXEMPLAR = {
  time: 0x11,
  asDouble: 0x19,
  spanId: 0x22,
  traceId: 0x2a,
  asInt: 0x31,
  attributes: 0x3a,
} as const;
