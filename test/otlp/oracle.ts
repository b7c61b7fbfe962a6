/** A second implementation of the wire format: protobufjs, with types made from our field tables by reflection. */
import protobuf from 'protobufjs';
import type { Signal } from '../../src/model/batch.ts';
import { REQUESTS, type Field, type Message } from '../../src/otlp/fields.ts';

/** How protobufjs names the types of our tables, where the names differ. */
const TYPE_NAMES: Readonly<Record<string, string>> = { id: 'bytes', enum: 'int32' };

const root = new protobuf.Root();
const types = new Map<Message, protobuf.Type>();

/** The spelling that is read and never written. */
const LEGACY_FIELD = 1000;

function typeOf(message: Message): protobuf.Type {
  const known = types.get(message);
  if (known !== undefined) return known;
  const type = new protobuf.Type(`T${types.size}`);
  types.set(message, type);
  root.add(type);
  for (const field of message.byNumber.values()) if (field.number !== LEGACY_FIELD) type.add(fieldOf(field));
  return type;
}

function fieldOf({ name, number, type, repeated }: Field): protobuf.Field {
  const typeName = typeof type === 'object' ? typeOf(type).name : (TYPE_NAMES[type] ?? type);
  const isPacked = repeated && typeName in protobuf.types.packed;
  return new protobuf.Field(
    name,
    number,
    typeName,
    repeated ? 'repeated' : undefined,
    isPacked ? { packed: true } : {},
  );
}

/** Plain objects: 64-bit integers are decimal strings, bytes are Buffers. */
export type Plain = { [name: string]: unknown };

export function oracleEncode(signal: Signal, request: Plain): Buffer {
  const type = typeOf(REQUESTS[signal]);
  return Buffer.from(type.encode(type.fromObject(request)).finish());
}

/** Absent fields stay absent, so that presence is compared too. */
export function oracleDecode(signal: Signal, bytes: Uint8Array): Plain {
  const type = typeOf(REQUESTS[signal]);
  return type.toObject(type.decode(bytes), { longs: String, bytes: String });
}
