// Elements of the page, and lists of them that change as little as they have to.

type Attributes = Record<string, string | number | boolean | undefined | ((event: never) => void)>;
type Inside = Node | string | null | undefined | false;

/** An element. `on…` are listeners, `true` and `false` say whether an attribute is there; texts are texts, never HTML. */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...inside: readonly Inside[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(key.slice(2), value as (event: Event) => void);
    else if (value === true) made.setAttribute(key, '');
    else if (value !== undefined && value !== false) made.setAttribute(key, String(value));
  }
  made.append(...inside.filter((one): one is Node | string => one !== null && one !== undefined && one !== false));
  return made;
}

/** What each child of a list shows. */
const shown = new WeakMap<Element, { readonly key: string; readonly text: string }>();

/**
 * Makes the children of `parent` those of `items`, in their order. A child whose item is the same as before is left alone, so that a
 * screen reader is told only what is new.
 */
export function reconcile<Item>(
  parent: Element,
  items: readonly Item[],
  keyOf: (item: Item) => string,
  make: (item: Item) => Element,
): void {
  const wanted = new Set(items.map(keyOf));
  const before = new Map<string, Element>();
  for (const child of [...parent.children]) {
    const key = shown.get(child)?.key;
    if (key !== undefined && wanted.has(key)) before.set(key, child);
    else child.remove();
  }
  let at = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const text = JSON.stringify(item);
    let child = before.get(key);
    if (!child || shown.get(child)?.text !== text) {
      const made = make(item);
      shown.set(made, { key, text });
      child?.replaceWith(made);
      if (at === child) at = made;
      child = made;
    }
    if (child === at) at = child.nextElementSibling;
    else parent.insertBefore(child, at);
  }
}

/** A colour for a name, the same one everywhere: a hue, because how light it is depends on the scheme. */
export function hueOf(name: string): number {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  return hash % 360;
}

/** A person's letters on a disc. */
export function avatar(name: string, label?: string): HTMLElement {
  const letters = [...name].slice(0, 2).join('');
  const made = element('span', { class: 'avatar', ...(label ? { title: label } : { 'aria-hidden': 'true' }) }, letters);
  made.style.setProperty('--hue', `${hueOf(name)}`);
  return made;
}
