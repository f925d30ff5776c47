// Takes apart what the page holds packed; packed.rs says how it is laid out.
const bytesOf = (base64) => {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
};

// The numbers of a column: planes of bytes, the lowest first.
const numbers = (bytes, n) => {
  const out = new Float64Array(n);
  let scale = 1;
  for (let plane = 0; plane < bytes.length; plane += n, scale *= 256) {
    for (let i = 0; i < n; i++) out[i] += bytes[plane + i] * scale;
  }
  return out;
};

const unpack = async (base64) => {
  const packed = new Blob([bytesOf(base64)]).stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = new Uint8Array(await new Response(packed).arrayBuffer());
  const lengths = new DataView(bytes.buffer);
  let at = 0;
  const block = () => {
    const from = at + 4;
    at = from + lengths.getUint32(at, true);
    return bytes.subarray(from, at);
  };
  const text = new TextDecoder();
  const db = JSON.parse(text.decode(block()));
  db.values = text.decode(block()).split("\n");
  const { n } = db, column = {};
  for (const name of db.columns) column[name] = block();
  const of = (name) => numbers(column[name], n);
  const summed = (name) => {
    const out = of(name);
    for (let i = 1; i < n; i++) out[i] += out[i - 1];
    return out;
  };
  db.index = summed("index");
  db.call = summed("call");
  // Loops, since a million calls of a function take as long as all the rest.
  const took = of("took");
  [db.cut, db.end] = [new Uint8Array(n), took];
  for (let i = 0; i < n; i++) {
    db.cut[i] = took[i] === 0 ? 1 : 0;
    db.end[i] = took[i] === 0 ? db.length : db.call[i] + took[i] - 1;
  }
  // Places in tables, -1 for none.
  for (const name of ["process", "node", "key", "error"]) {
    const place = of(name);
    db[name] = new Int32Array(n);
    for (let i = 0; i < n; i++) db[name][i] = place[i] - 1;
  }
  const both = of("f");
  [db.f, db.outcome] = [new Int32Array(n), new Uint8Array(n)];
  for (let i = 0; i < n; i++) {
    db.f[i] = both[i] / 3;
    db.outcome[i] = both[i] % 3;
  }
  const asked = of("asked"), answered = of("answered");
  db.asked = new Int32Array(n);
  db.answered = new Int32Array(n);
  let texts = 0;
  const place = (back) => back === 0 ? texts++ : texts - back;
  for (let i = 0; i < n; i++) {
    db.asked[i] = asked[i] === 0 ? -1 : place(asked[i] - 1);
    db.answered[i] = answered[i] === 0 ? -1 : answered[i] === 1 ? db.asked[i] : place(answered[i] - 2);
  }
  return db;
};

// The first place of a sorted list whose value is at least this.
const lowerBound = (list, value, length = list.length) => {
  let low = 0, high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
};
