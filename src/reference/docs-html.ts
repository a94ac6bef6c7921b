/** Shows the generated Markdown in a browser: understands just what `docs-markdown.ts` writes, escapes everything
 *  first, and keeps only relative links. Pure. */

const style =
  'body{font:1rem/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}' +
  'pre{background:#f3f3f0;padding:.8rem;overflow:auto}code{font-family:ui-monospace,monospace}' +
  '@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}pre{background:#262626}a{color:#8cf}}';

/** A whole page. Links to `.md` files become links to the `.html` beside them, and README to index. */
export function docsHtml(title: string, markdown: string): string {
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escaped(title)}</title><style>${style}</style></head>
<body>
${blocks(markdown).join('\n')}
</body>
</html>
`;
}

/** `api/src/basket.js.md` -> `api/src/basket.js.html`; `README.md` -> `index.html`. */
export function htmlName(name: string): string {
  return name.replace(/(^|\/)README\.md$/, '$1index.html').replace(/\.md$/, '.html');
}

function blocks(markdown: string): string[] {
  const rows = markdown.split('\n');
  const html: string[] = [];
  for (let at = 0; at < rows.length; at++) {
    const row = rows[at]!;
    const fence = /^(`{3,})\w*$/.exec(row)?.[1];
    const heading = /^(#{1,4}) (.*)$/.exec(row);
    if (fence !== undefined) {
      const end = rows.indexOf(fence, at + 1);
      const last = end === -1 ? rows.length : end;
      html.push(`<pre><code>${escaped(rows.slice(at + 1, last).join('\n'))}</code></pre>`);
      at = last;
    } else if (heading !== null) {
      const level = heading[1]!.length;
      html.push(`<h${level}>${inline(heading[2]!)}</h${level}>`);
    } else if (row.startsWith('- ')) {
      const items = [row];
      while (rows[at + 1]?.startsWith('- ')) items.push(rows[++at]!);
      html.push(`<ul>${items.map((item) => `<li>${inline(item.slice(2))}</li>`).join('')}</ul>`);
    } else if (row.trim() !== '') {
      const lines = [row];
      while (/^[^\s`#-]/.test(rows[at + 1] ?? '')) lines.push(rows[++at]!);
      html.push(`<p>${inline(lines.join(' '))}</p>`);
    }
  }
  return html;
}

function inline(text: string): string {
  const pattern = /\[(`+[^`]*`+|[^\]`]*)\]\(([^()\s]*)\)|(`+)(.*?)\3(?!`)|\*\*([^*]+)\*\*/g;
  let html = '';
  let done = 0;
  for (const match of text.matchAll(pattern)) {
    html += escaped(text.slice(done, match.index));
    const [whole, label, target, ticks, code, strong] = match;
    if (label !== undefined) html += link(label, target!);
    else if (ticks !== undefined) html += `<code>${escaped(code!.trim())}</code>`;
    else html += `<strong>${escaped(strong!)}</strong>`;
    done = match.index + whole.length;
  }
  return html + escaped(text.slice(done));
}

function link(label: string, target: string): string {
  const shown = label.startsWith('`') ? inline(label) : escaped(label);
  // A doc comment may name any address; only pages beside this one are linked.
  const own = /^[\w./%-]+\.md$/.test(target) && !target.startsWith('/');
  return own ? `<a href="${escaped(htmlName(target))}">${shown}</a>` : shown;
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
