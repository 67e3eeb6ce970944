// JSON for people: a value with colours, and what is wrong with a text, and where.

const TOKENS = /("(?:\\.|[^"\\])*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
/** A larger value is shown without colours. */
const COLOURED = 50_000;

/** Nodes that show a value, indented and coloured. */
export function coloured(value) {
  const text = JSON.stringify(value, null, 2);
  if (text.length > COLOURED) return [text];
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(TOKENS)) {
    const [token, string, colon] = match;
    const kind = string === undefined ? 'literal' : colon === undefined ? 'string' : 'name';
    const shown = string ?? token;
    const span = document.createElement('span');
    span.className = `json-${kind}`;
    span.textContent = shown;
    nodes.push(text.slice(end, match.index), span);
    end = match.index + shown.length;
  }
  return [...nodes, text.slice(end)];
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids exactly these in a string.
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"/.source;
const SCALAR = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])|(?:true|false|null)(?!\w)/.source;
const TOKEN = new RegExp(`[ \\t\\n\\r]*(?:([{}[\\],:])|(${STRING})|(${SCALAR}))`, 'y');

/**
 * Where JSON text breaks the grammar (RFC 8259), and what should stand there; `null`: nowhere. Browsers say it each in
 * its own words, and often not where.
 */
function fault(text) {
  let at = 0;
  /** What the token at `at` is: a mark, `name` (a string), `value` (another scalar) or nothing that is known. */
  const peek = () => {
    TOKEN.lastIndex = at;
    const [whole, mark, string, scalar] = TOKEN.exec(text) ?? [''];
    return { kind: mark ?? (string && 'name') ?? (scalar && 'value'), length: whole.length };
  };
  const open = [];
  let wanted = ['value'];
  const names = { value: 'a value', name: 'a name in double quotes', ':': 'a colon', ',': 'a comma', end: 'the end' };
  for (;;) {
    const { kind, length } = peek();
    const rest = /[^ \t\n\r]/g;
    rest.lastIndex = at;
    const next = rest.exec(text)?.index ?? text.length;
    if (next === text.length && wanted.includes('end')) return null;
    const begins = kind === '{' || kind === '[' || kind === 'value' || kind === 'name';
    const fits = wanted.includes(kind) || (wanted.includes('value') && begins);
    if (!fits) return { at: next, wanted: wanted.map((want) => names[want] ?? `“${want}”`).join(' or ') };
    at += length;
    const inside = open.at(-1);
    if (kind === '{' || kind === '[') {
      open.push(kind);
      wanted = kind === '{' ? ['name', '}'] : ['value', ']'];
    } else if (kind === ',') wanted = [inside === '{' ? 'name' : 'value'];
    else if (kind === ':') wanted = ['value'];
    else if (kind === 'name' && wanted[0] === 'name') wanted = [':'];
    else {
      if (kind === '}' || kind === ']') open.pop();
      wanted = open.length === 0 ? ['end'] : [',', open.at(-1) === '{' ? '}' : ']'];
    }
  }
}

/** What is wrong with JSON text; empty: nothing. */
export function wrongJson(text) {
  if (text.trim() === '') return 'Data is empty. Any JSON will do, for example null.';
  try {
    JSON.parse(text);
    return '';
  } catch (error) {
    const found = fault(text);
    if (!found) return `Not JSON: ${error.message}`;
    const lines = text.slice(0, found.at).split('\n');
    const where = `line ${lines.length}, column ${lines.at(-1).length + 1}`;
    const word = /a value|a name/.test(found.wanted) && /^[\p{L}_']/u.test(text.slice(found.at));
    return `Not JSON: ${found.wanted} should stand at ${where}.${word ? ' Text stands in double quotes.' : ''}`;
  }
}
