/**
 * Reads NumPy's numbers in a pickle, such as `np.int64(65)` in a dataset's meta.pkl. Arrays are refused, like every
 * name that the caller of pickle.ts does not allow.
 */
import type { PickleGlobal } from "./pickle.js";

/** A NumPy number type, as `numpy.dtype("i8", False, True)` makes it. */
class NumberType {
  littleEndian = true;
  constructor(readonly code: string) {}
}

const readers: Readonly<Record<string, (view: DataView, little: boolean) => number>> = {
  b1: (view) => view.getUint8(0),
  i1: (view) => view.getInt8(0),
  u1: (view) => view.getUint8(0),
  i2: (view, little) => view.getInt16(0, little),
  u2: (view, little) => view.getUint16(0, little),
  i4: (view, little) => view.getInt32(0, little),
  u4: (view, little) => view.getUint32(0, little),
  i8: (view, little) => Number(view.getBigInt64(0, little)),
  u8: (view, little) => Number(view.getBigUint64(0, little)),
  f4: (view, little) => view.getFloat32(0, little),
  f8: (view, little) => view.getFloat64(0, little),
};

const numberType: PickleGlobal = {
  call([code]) {
    if (typeof code !== "string" || !Object.hasOwn(readers, code)) throw new TypeError("it is not a number type");
    return new NumberType(code);
  },
  build(made, attributes) {
    if (made instanceof NumberType && Array.isArray(attributes)) made.littleEndian = attributes[1] !== ">";
  },
};

const scalar: PickleGlobal = {
  call([type, bytes]) {
    if (!(type instanceof NumberType) || !(bytes instanceof Uint8Array)) throw new TypeError("wrong arguments");
    if (bytes.length !== Number(type.code.slice(1))) throw new TypeError(`it has ${bytes.length} bytes`);
    return readers[type.code]!(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), type.littleEndian);
  },
};

/** For `readPickle`: the names that NumPy's numbers use, in versions 1 and 2 of NumPy. */
export const numpyGlobals: Readonly<Record<string, PickleGlobal>> = {
  "numpy.dtype": numberType,
  "numpy.core.multiarray.scalar": scalar,
  "numpy._core.multiarray.scalar": scalar,
};
