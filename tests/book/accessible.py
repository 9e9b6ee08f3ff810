"""What a page must offer to eyes, keyboards and screen readers; the rules of axe-core that pages once broke."""

#: JavaScript that returns {rule: elements that break it}; run in a page.
FAULTS = r"""
const found = {};
const say = (rule, elements) => { if (elements.length) found[rule] = elements.slice(0, 5).map(
  e => `${e.tagName} ${e.className} ${(e.textContent || '').trim().slice(0, 40)}`); };
const all = query => [...document.querySelectorAll(query)];
const words = text => text.toLowerCase().replace(/\s+/g, ' ').trim();

// a control's name holds the words that it shows; symbols alone are no words
say('label-content-name-mismatch', all('button, a, summary, [role=button]').filter(e => {
  const name = e.getAttribute('aria-label'), shown = words(e.innerText);
  return name !== null && /\p{L}/u.test(shown) && !words(name).includes(shown); }));

const channel = c => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
const rgb = text => text.match(/[\d.]+/g).map(Number);
const behind = e => {  // the grounds of an element and of those that it lies in, seen through each other
  const grounds = [];
  for (let alpha = 0; e && alpha < 1; e = e.parentElement) {
    const [r, g, b, a = 1] = rgb(getComputedStyle(e).backgroundColor);
    grounds.unshift([[r, g, b], alpha = a]);
  }
  return grounds.reduce((below, [ground, a]) => below.map((c, i) => c * (1 - a) + ground[i] * a), [255, 255, 255]);
};
const dull = new Set();
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node; node = texts.nextNode();) {
  const e = node.parentElement;
  const exempt = e.closest('mjx-container, script, style, svg, [aria-disabled=true]');
  if (!node.data.trim() || exempt || !e.checkVisibility()) continue;
  const style = getComputedStyle(e), pair = [light(rgb(style.color)), light(behind(e))];
  const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  if ((Math.max(...pair) + .05) / (Math.min(...pair) + .05) < (large ? 3 : 4.5)) dull.add(e);
}
say('color-contrast', [...dull]);

say('scrollable-region-focusable', all('article *').filter(e => {
  const style = getComputedStyle(e);
  const scrolls = /auto|scroll/.test(style.overflowX) && e.scrollWidth > e.clientWidth + 1;
  return scrolls && e.checkVisibility() && e.tabIndex < 0 && !e.querySelector('a[href], button, input, [tabindex="0"]');
}));
say('empty-table-header', all('article th').filter(e => !e.textContent.replace(/\u00a0/g, '').trim()));
say('aria-required-children', all('[role=list]').filter(e => !e.querySelector('[role=listitem], li')));
say('image-alt', all('article img').filter(e => !e.hasAttribute('alt')));
say('duplicate-id', all('[id]').filter((e, i, every) => every.findIndex(other => other.id === e.id) < i));
return found;
"""
