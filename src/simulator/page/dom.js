// Elements out of text. What came from a messenger only ever becomes a text node or the address of a link.

/** An element with a class and children; strings become text. */
export function make(tag, name, ...children) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.append(...children);
  return element;
}

/**
 * A link that leaves the page, where the address is one that a messenger would open; else its text alone. An issue is
 * on the page itself.
 */
export function link(address, ...children) {
  if (!/^(https?:\/\/|mailto:|tel:)/i.test(address)) return make('span', '', ...children);
  const anchor = make('a', '', ...children);
  anchor.href = address;
  const issue = anchor.origin === location.origin && /^\/issues\/([A-Z]+-\d+)$/.exec(anchor.pathname);
  if (issue) {
    anchor.href = `#${issue[1]}`;
    return anchor;
  }
  anchor.target = '_blank';
  anchor.rel = 'noopener noreferrer';
  return anchor;
}

/** The time of day of a message, with the whole time for those who ask. */
export function clock(at) {
  const time = make('time', '', new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
  time.dateTime = at;
  time.title = new Date(at).toLocaleString();
  return time;
}
