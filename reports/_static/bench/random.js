// numpy's default generator, to the last bit: control faces draw their grain, their noise and the place of an occluder from it.
//
// PCG64 (O'Neill, 2014) seeded by SeedSequence, with uniform, integers, choice and standard_normal (the ziggurat of Marsaglia & Tsang, 2000).
"use strict";
(() => {
const MASK = (1n << 128n) - 1n, WORD = (1n << 64n) - 1n, FACTOR = 0x2360ed051fc65da44385df649fccf645n;

// Four 64-bit words from a list of whole numbers, as SeedSequence(list).generate_state(4, uint64).
function spread(entropy) {
  const words = entropy.flatMap((value) => (value < 2 ** 32 ? [value >>> 0] : [value >>> 0, Math.floor(value / 2 ** 32)]));
  const pool = new Uint32Array(4);
  let hash = 0x43b0d7e5;
  const mixed = (value) => {
    value ^= hash;
    hash = Math.imul(hash, 0x931e8875);
    value = Math.imul(value, hash);
    return value ^ (value >>> 16);
  };
  const joined = (x, y) => {
    const result = Math.imul(x, 0xca01f9dd) - Math.imul(y, 0x4973f715);
    return result ^ (result >>> 16);
  };
  for (let i = 0; i < 4; i++) pool[i] = mixed(words[i] ?? 0);
  for (let from = 0; from < 4; from++) for (let to = 0; to < 4; to++) if (from !== to) pool[to] = joined(pool[to], mixed(pool[from]));
  for (let i = 4; i < words.length; i++) for (let to = 0; to < 4; to++) pool[to] = joined(pool[to], mixed(words[i]));
  hash = 0x8b51f9dd;
  const state = Array.from({ length: 8 }, (_, i) => {
    let value = pool[i % 4] ^ hash;
    hash = Math.imul(hash, 0x58f38ded);
    value = Math.imul(value, hash);
    return BigInt((value ^ (value >>> 16)) >>> 0);
  });
  return [0, 2, 4, 6].map((i) => state[i] | (state[i + 1] << 32n));
}

class Generator {
  constructor(seed) {
    const [high, low, streamHigh, streamLow] = spread(seed);
    this.step = ((((streamHigh << 64n) | streamLow) << 1n) | 1n) & MASK;
    this.state = this.step;
    this.state = ((this.state + ((high << 64n) | low)) * FACTOR + this.step) & MASK;
    this.half = null;  // the upper half of a word of which integers() has used the lower
  }

  word() {
    this.state = (this.state * FACTOR + this.step) & MASK;
    const value = (this.state >> 64n) ^ (this.state & WORD), turn = this.state >> 122n;
    return ((value >> turn) | (value << (64n - turn))) & WORD;
  }

  random() {
    return Number(this.word() >> 11n) / 2 ** 53;
  }

  uniform(low, high) {
    return low + (high - low) * this.random();
  }

  integers(low, high) {  // Lemire's method on 32 bits
    const count = high - low, least = 2 ** 32 % count;
    for (;;) {
      let bits = this.half;
      if (bits === null) {
        const word = this.word();
        bits = Number(word & 0xffffffffn);
        this.half = Number(word >> 32n);
      } else this.half = null;
      const product = BigInt(bits) * BigInt(count);
      if (Number(product & 0xffffffffn) >= least) return low + Number(product >> 32n);
    }
  }

  choice(values) {
    return values[this.integers(0, values.length)];
  }

  normal() {
    for (;;) {
      const word = this.word();
      const layer = Number(word & 0xffn), size = Number((word >> 9n) & 0xfffffffffffffn);
      const x = (word & 0x100n ? -1 : 1) * size * WIDTHS[layer];
      if (size < INSIDE[layer]) return x;
      if (layer === 0) {
        for (;;) {
          const far = -Math.log1p(-this.random()) / TAIL, y = -Math.log1p(-this.random());
          if (y + y > far * far) return (size >> 8) & 1 ? -(TAIL + far) : TAIL + far;
        }
      }
      if ((HEIGHTS[layer - 1] - HEIGHTS[layer]) * this.random() + HEIGHTS[layer] < Math.exp(-0.5 * x * x)) return x;
    }
  }
}

// The ziggurat's 256 layers of equal area under exp(-x^2 / 2).
const TAIL = 3.6541528853610087963519472518, AREA = 0.0049286732339746519;
const [WIDTHS, INSIDE, HEIGHTS] = (() => {
  const edges = new Float64Array(256), height = (x) => Math.exp(-0.5 * x * x), unit = 2 ** 52;
  edges[255] = TAIL;
  for (let i = 254; i > 0; i--) edges[i] = Math.sqrt(-2 * Math.log(AREA / edges[i + 1] + height(edges[i + 1])));
  const base = AREA / height(TAIL);
  return [
    edges.map((x, i) => (i ? x : base) / unit),
    edges.map((x, i) => (i ? Math.floor((edges[i - 1] / x) * unit) : Math.floor((TAIL / base) * unit))),
    edges.map(height),
  ];
})();

globalThis.ControlFace = Object.assign(globalThis.ControlFace ?? {}, { Generator });
})();
