// What makes a page hard to read, found by measuring it.

/**
 * Returns what is wrong with how the page is laid out: it is scrolled sideways, a text is cut off, two texts lie on each other, or
 * a line is too long to read, or breaks within a word.
 */
export async function layout(page, where) {
  const found = await page.evaluate(() => {
    const found = [];
    const main = document.getElementById('main');
    for (const [name, box] of [['the document', document.documentElement], ['the page', main], ['the sidebar', document.querySelector('nav .MuiGrid-container')]]) {
      if (box && box.scrollWidth > box.clientWidth + 1) found.push(`${name} is ${box.scrollWidth} wide in ${box.clientWidth}`);
    }
    // Editors, terminals and the map move within a frame of their own; a tooltip lies over the page.
    const moves = '[role="tooltip"], .monaco-editor, .xterm, .react-flow, [aria-hidden="true"], .skip, svg, style, script';
    const texts = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const element = node.parentElement;
      const text = node.textContent.trim();
      if (!text || element.closest(moves) || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      const lines = [...range.getClientRects()].filter(line => line.width > 0);
      let seen = lines;
      let shortened = false;
      for (let box = element; box && box !== document.documentElement; box = box.parentElement) {
        const style = getComputedStyle(box);
        const frame = box.getBoundingClientRect();
        if (frame.width <= 1 || frame.height <= 1) seen = []; // for screen readers alone
        if (style.overflowX === 'visible' && style.overflowY === 'visible') continue;
        shortened ||= style.textOverflow === 'ellipsis';
        const cut = lines.some(line => line.right > frame.right + 1 || line.left < frame.left - 1);
        if (seen.length > 0 && cut && !shortened && ['hidden', 'clip'].includes(style.overflowX)) found.push(`"${text.slice(0, 60)}" is cut off`);
        seen = seen
          .map(line => ({ left: Math.max(line.left, frame.left), right: Math.min(line.right, frame.right), top: Math.max(line.top, frame.top), bottom: Math.min(line.bottom, frame.bottom) }))
          .filter(line => line.right - line.left > 1 && line.bottom - line.top > 1);
      }
      for (const line of seen) texts.push({ text, element, ...{ left: line.left, right: line.right, top: line.top, bottom: line.bottom } });
      for (const { index, 0: word } of node.textContent.matchAll(/[A-Za-z]{3,}/g)) {
        range.setStart(node, index);
        range.setEnd(node, index + word.length);
        if (seen.length > 0 && new Set([...range.getClientRects()].map(line => Math.round(line.top))).size > 1) found.push(`"${text.slice(0, 60)}" breaks within "${word}"`);
      }
      const letters = text.length / Math.max(1, new Set(lines.map(line => Math.round(line.top))).size);
      if (letters > 150) found.push(`"${text.slice(0, 60)}" has ${Math.round(letters)} letters in a line`);
    }
    // A glyph may stand a little out of its line.
    const slack = 3;
    texts.forEach((one, index) => {
      for (const other of texts.slice(index + 1)) {
        if (one.element === other.element || one.element.contains(other.element) || other.element.contains(one.element)) continue;
        const wide = Math.min(one.right, other.right) - Math.max(one.left, other.left);
        const high = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
        if (wide > slack && high > slack) found.push(`"${one.text.slice(0, 40)}" and "${other.text.slice(0, 40)}" lie on each other`);
      }
    });
    return [...new Set(found)];
  });
  return found.map(one => `${where}: ${one}`);
}
