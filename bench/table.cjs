// Figures as people read them.

/** Three significant digits, thousands kept whole. */
function short(value) {
  if (value === null) return '';
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)));
}

function table(rows) {
  const head = ['figure', 'unit', 'Muster', 'compared', 'with', 'ratio', 'target', 'ok', 'rounds', 'others'];
  const lines = rows.map((row) => [
    row.figure,
    row.unit,
    short(row.muster),
    short(row.raw),
    row.of,
    short(row.ratio),
    `${row.better === 'higher' ? '>=' : '<='} ${short(row.target)}`,
    row.ok ? 'yes' : 'NO',
    String(row.rounds),
    row.others_cpu === undefined ? '' : `${Math.round(row.others_cpu * 100)} %`,
  ]);
  const widths = head.map((title, i) => Math.max(title.length, ...lines.map((line) => line[i].length)));
  const render = (cells) => `| ${cells.map((cell, i) => cell.padEnd(widths[i])).join(' | ')} |\n`;
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|\n`;
  return render(head) + rule + lines.map(render).join('');
}

module.exports = { table };
