// What a page must not have, looked for in the page itself: each function is handed to `page.evaluate`.

/** Controls without a name, images without a text, ids that are not unique or that nothing has. Runs in the page. */
export function nameless() {
  const wrong = [];
  for (const control of document.querySelectorAll('input, select, textarea, button, summary, [tabindex], canvas')) {
    const labelled = control.getAttribute('aria-label') || control.labels?.length || control.textContent.trim();
    if (!labelled) wrong.push(`nameless: ${control.outerHTML.slice(0, 100)}`);
  }
  const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push(`twice: ${id}`);
  for (const attribute of ['for', 'aria-labelledby', 'aria-describedby', 'aria-activedescendant', 'list']) {
    for (const element of document.querySelectorAll(`[${attribute}]`)) {
      const id = element.getAttribute(attribute);
      if (!document.getElementById(id)) wrong.push(`${attribute} names ${id}, which is not there`);
    }
  }
  if (!document.documentElement.lang || document.querySelectorAll('h1').length !== 1) wrong.push('language or heading');
  return wrong;
}

/** Texts with less contrast than WCAG 2.2 wants: 4.5, or 3 for large ones. Runs in the page. */
export function faint() {
  const rgba = (text) => {
    const canvas = (window.mixer ??= new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true }));
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a)];
  const light = (channels) => {
    const [r, g, b] = channels.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.textContent.trim() || !element.checkVisibility() || element.closest('.unseen, .skip'))
      continue;
    const above = [];
    for (let at = element; at; at = at.parentElement) above.unshift(at);
    const ground = above.reduce(
      (under, at) => over(rgba(getComputedStyle(at).backgroundColor), under),
      [255, 255, 255],
    );
    const style = getComputedStyle(element);
    const opacity = above.reduce((all, at) => all * Number(getComputedStyle(at).opacity), 1);
    const [r, g, b, a] = rgba(style.color);
    const ink = over([r, g, b, a * opacity], ground);
    const [bright, dark] = [light(ink), light(ground)].sort((x, y) => y - x);
    const ratio = (bright + 0.05) / (dark + 0.05);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const text = texts.currentNode.textContent.trim().slice(0, 30);
    // A dash stands for a figure that is not there.
    if (ratio < least && text !== '–')
      found.add(`${ratio.toFixed(2)} ${element.tagName}.${element.className}: ${text}`);
  }
  return [...found];
}
