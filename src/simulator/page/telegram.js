// A message of the Bot API as Telegram shows it. Entities count in UTF-16 units, as a script's strings do.
// Source: core.telegram.org/bots/api, "MessageEntity".
import { link, make } from './dom.js';

const TAGS = {
  bold: 'b', italic: 'i', underline: 'u', strikethrough: 's', code: 'code', pre: 'pre',
  blockquote: 'blockquote', expandable_blockquote: 'blockquote',
};

/** The members `text` and `entities` of a message. */
export function content({ text = '', entities = [] }) {
  const inOrder = [...entities].sort((one, other) => one.offset - other.offset || other.length - one.length);
  return nested(text, 0, text.length, inOrder);
}

/** The keyboard below a message, where there is one: rows of buttons that lead somewhere. */
export function keyboard(markup) {
  const key = (button) => (button.url ? link(button.url, button.text) : make('span', '', button.text));
  return (markup?.inline_keyboard ?? []).map((row) => make('div', 'keys', ...row.map(key)));
}

/** The text from one place to another; entities lie in each other, and what crosses an end is cut there. */
function nested(text, from, to, entities) {
  const parts = [];
  let at = from;
  for (let next = 0; next < entities.length;) {
    const entity = entities[next];
    const [start, end] = [Math.max(entity.offset, at), Math.min(entity.offset + entity.length, to)];
    let after = next + 1;
    while (after < entities.length && entities[after].offset < end) after += 1;
    if (start < end) {
      parts.push(...plain(text.slice(at, start)));
      parts.push(wrapped(entity, text.slice(start, end), nested(text, start, end, entities.slice(next + 1, after))));
      at = end;
    }
    next = after;
  }
  const rest = text.slice(at, to);
  parts.push(...plain(parts.length && isBlock(parts.at(-1)) ? rest.replace(/^\n/, '') : rest));
  return parts;
}

function isBlock(part) {
  return part.nodeName === 'PRE' || part.nodeName === 'BLOCKQUOTE';
}

function wrapped(entity, text, inner) {
  switch (entity.type) {
    case 'text_link': return link(entity.url, ...inner);
    case 'mention': case 'text_mention': return make('span', 'mention', ...inner);
    case 'spoiler': return make('span', 'spoiler', ...inner);
    case 'code': case 'pre': return make(TAGS[entity.type], '', text);
    default: return TAGS[entity.type] ? make(TAGS[entity.type], '', ...inner) : make('span', '', ...inner);
  }
}

/** Telegram finds addresses by itself. */
function plain(text) {
  const parts = text.split(/(https?:\/\/[^\s<>"]*[^\s<>".,;:!?)])/).filter(Boolean);
  return parts.map((part) => (/^https?:\/\//.test(part) ? link(part, part) : part));
}
