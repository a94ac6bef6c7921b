// Graphs as keys and what they wait for; the same for every side that runs them.

/** `count` tasks and one that waits for them all. */
function fanIn(count) {
  const keys = Array.from({ length: count }, (_, i) => `t${i}`);
  return [...keys.map((key) => ({ key, after: [] })), { key: 'root', after: keys }];
}

/** One after the other. */
function chain(length) {
  return Array.from({ length }, (_, i) => ({ key: `t${i}`, after: i === 0 ? [] : [`t${i - 1}`] }));
}

/** `width` chains of `depth`, joined by one root: layers in the shape of a tree, which is all that BullMQ can express. */
function layers(width, depth) {
  const tasks = [];
  for (let column = 0; column < width; column++) {
    for (let row = 0; row < depth; row++) {
      tasks.push({ key: `t${column}-${row}`, after: row === 0 ? [] : [`t${column}-${row - 1}`] });
    }
  }
  const last = Array.from({ length: width }, (_, column) => `t${column}-${depth - 1}`);
  return [...tasks, { key: 'root', after: last }];
}

module.exports = { shapes: { chain, fanIn, layers } };
