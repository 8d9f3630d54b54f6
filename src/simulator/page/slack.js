// A message of Slack's API as Slack shows it: rich text and other blocks, else mrkdwn.
// Source: docs.slack.dev, "Rich text block", "Formatting message text".
import { link, make } from './dom.js';

const STYLES = [['code', 'code'], ['strike', 's'], ['italic', 'i'], ['bold', 'b'], ['underline', 'u']];

/** What the answer of chat.postMessage calls `message`, with the members that steer how it looks. */
export function content(message) {
  const styled = message.mrkdwn !== false;
  const parts = message.blocks?.length ? message.blocks.map(block) : [mrkdwn(message.text ?? '', styled)];
  if (message.markdown_text) parts.push(make('p', '', message.markdown_text));
  for (const attachment of message.attachments ?? []) parts.push(make('div', 'attachment', ...attached(attachment)));
  return parts;
}

function attached(attachment) {
  const lines = ['pretext', 'title', 'text'].filter((name) => attachment[name]).map((name) => mrkdwn(attachment[name]));
  return [...lines, ...(attachment.blocks ?? []).map(block)];
}

function block(given) {
  switch (given.type) {
    case 'rich_text': return make('div', 'rich', ...given.elements.map(rich));
    case 'header': return make('p', 'heading', given.text.text);
    case 'divider': return make('hr', '');
    case 'section': return make('div', 'section', ...[given.text, ...(given.fields ?? [])].filter(Boolean).map(text));
    case 'context': return make('div', 'context', ...given.elements.filter((element) => element.text).map(text));
    case 'actions': return make('div', 'keys', ...given.elements.map(button));
    case 'markdown': return make('p', '', given.text);
    default: return make('p', 'unknown', `[${given.type}]`);
  }
}

function text(object) {
  return object.type === 'mrkdwn' ? mrkdwn(object.text) : make('p', '', object.text);
}

function button(element) {
  const label = element.text?.text ?? element.type;
  return element.url ? link(element.url, label) : make('span', '', label);
}

function rich(element) {
  switch (element.type) {
    case 'rich_text_list': return list(element);
    case 'rich_text_quote': return make('blockquote', '', ...element.elements.map(inline));
    case 'rich_text_preformatted': return make('pre', '', ...element.elements.map(inline));
    default: return make('p', '', ...element.elements.map(inline));
  }
}

function list(element) {
  const made = make(element.style === 'ordered' ? 'ol' : 'ul', `indent-${Math.min(element.indent ?? 0, 8)}`);
  if (element.offset) made.start = element.offset + 1;
  made.append(...element.elements.map((item) => make('li', '', ...item.elements.map(inline))));
  return made;
}

function inline(element) {
  let shown;
  switch (element.type) {
    case 'link': shown = link(element.url, element.text ?? element.url); break;
    case 'user': shown = make('span', 'mention', `@${element.user_id}`); break;
    case 'usergroup': shown = make('span', 'mention', `@${element.usergroup_id}`); break;
    case 'broadcast': shown = make('span', 'mention', `@${element.range}`); break;
    case 'channel': shown = make('span', 'mention', `#${element.channel_id}`); break;
    case 'emoji': shown = document.createTextNode(`:${element.name}:`); break;
    case 'date': shown = document.createTextNode(element.fallback ?? day(element.timestamp)); break;
    default: shown = document.createTextNode(element.text ?? '');
  }
  for (const [style, tag] of STYLES) if (element.style?.[style]) shown = make(tag, '', shown);
  return shown;
}

function day(timestamp) {
  return new Date(timestamp * 1000).toLocaleString();
}

const MARKS = [
  [/^```([^]+?)```/, 'pre'], [/^`([^`\n]+)`/, 'code'], [/^\*(?! )([^*\n]+?)(?<! )\*(?!\w)/, 'b'],
  [/^_(?! )([^_\n]+?)(?<! )_(?!\w)/, 'i'], [/^~(?! )([^~\n]+?)(?<! )~(?!\w)/, 's'],
];

/** Slack's own markup; without styles only its links and its three character references. */
export function mrkdwn(source, styled = true) {
  const paragraph = make('p', '');
  for (const line of styled ? quotes(source) : [{ text: source }]) {
    paragraph.append(make(line.quoted ? 'blockquote' : 'span', '', ...marks(line.text, styled)));
  }
  return paragraph;
}

/** Neighbouring lines that begin with `&gt;` are one quote. */
function quotes(source) {
  const parts = [];
  for (const line of source.split(/(?<=\n)/)) {
    const quoted = /^(&gt;|>) ?/.test(line);
    const own = quoted ? line.replace(/^(&gt;|>) ?/, '') : line;
    if (parts.length && parts.at(-1).quoted === quoted) parts.at(-1).text += own;
    else parts.push({ quoted, text: own });
  }
  return parts;
}

function marks(source, styled) {
  const parts = [];
  let plain = '';
  const flush = () => { if (plain) parts.push(decoded(plain)); plain = ''; };
  for (let rest = source, before = ' '; rest;) {
    const control = /^<([@#!][^<>|\n]+|[^<>|\n]*:[^<>|\n]*)(?:\|([^<>\n]*))?>/.exec(rest);
    const found = MARKS.map(([form, tag]) => ({ found: form.exec(rest), tag }));
    const mark = styled && !/\w/.test(before) && found.find((mark) => mark.found);
    const taken = control ?? mark?.found;
    if (taken) {
      flush();
      parts.push(control ? controlled(control) : make(mark.tag, '', ...marks(taken[1], !/pre|code/.test(mark.tag))));
    } else plain += rest[0];
    const length = taken ? taken[0].length : 1;
    before = rest[length - 1];
    rest = rest.slice(length);
  }
  flush();
  return parts;
}

function controlled([, target, label]) {
  if (/^[@!#]/.test(target)) return make('span', 'mention', decoded(label ?? target.replace('!', '@')));
  return link(decoded(target), decoded(label ?? target));
}

function decoded(text) {
  return text.replace(/&(lt|gt|amp);/g, (_, name) => ({ lt: '<', gt: '>', amp: '&' })[name]);
}
