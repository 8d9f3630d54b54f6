// Tracker's queue: its issues as cards, with what a person can do to each and say on its pull request.
import { clock, make } from './dom.js';

const cards = new Map();
const list = document.querySelector('#tracker .issues');
const DONE = 'done';
let due = new Set(); // keys of issues to which something is still to be done

/**
 * Shows the queue as it stands. `act` does a deed of the page; the answer is what changed by another than the visitor
 * since the last board, in words.
 */
export function show({ issues }, act) {
  const keys = new Set(issues.map(({ key }) => key));
  for (const [key, card] of cards) {
    if (keys.has(key)) continue;
    card.node.remove();
    cards.delete(key);
  }
  const news = [];
  // From the oldest on: each new one goes on top.
  for (const issue of [...issues].reverse()) {
    const known = cards.get(issue.key);
    const card = known ?? begin(issue.key, act);
    if (!known) list.prepend(card.node);
    if (known && known.newest !== issue.newest.at + issue.newest.what && issue.newest.by !== 'You') {
      news.push(`${issue.key}: ${issue.newest.by}, ${issue.newest.what}`);
    }
    update(card, issue, act);
  }
  return news;
}

/** A card whose parts stay, so that what is being typed and pressed in it stays too. */
function begin(key, act) {
  const part = (tag, name, ...children) => make(tag, name, ...children);
  const [status, priority, summary, newest] =
    [part('span', 'status'), part('span', 'priority'), part('p', 'summary'), part('p', 'newest')];
  const ways = part('div', 'ways');
  ways.role = 'group';
  ways.ariaLabel = `Move ${key}`;
  const pull = part('div', 'ways pull', part('span', 'of', `Pull request of ${key}`));
  pull.role = 'group';
  pull.ariaLabel = `Review the pull request of ${key}`;
  for (const [verdict, name] of [['approve', 'Approve'], ['reject', 'Reject']]) {
    pull.append(button(name, verdict, () => act({ kind: 'review', key, verdict })));
  }
  const input = make('input', '');
  Object.assign(input, { autocomplete: 'off', placeholder: 'Comment', required: true, ariaLabel: `Comment on ${key}` });
  const send = make('button', 'quiet', 'Send');
  const say = part('form', 'say', input, send);
  say.addEventListener('submit', async (event) => {
    event.preventDefault();
    send.disabled = true;
    if (await act({ kind: 'comment', key, text: input.value })) input.value = '';
    send.disabled = false;
    input.focus();
  });
  const waits = part('span', 'due', 'a change waits for Tracker');
  waits.hidden = !due.has(key);
  const head = part('div', 'head', part('b', 'key', key), status, priority, waits);
  const node = part('li', 'issue', head, summary, newest, ways, pull, say);
  node.id = key;
  const card = { key, node, status, priority, summary, latest: newest, newest: '', ways, pull, waits, shown: '' };
  cards.set(key, card);
  return card;
}

function button(name, kind, press) {
  const made = make('button', kind, name);
  made.type = 'button';
  made.addEventListener('click', async () => {
    made.disabled = true;
    await press();
    made.disabled = false;
    if (made.isConnected && document.activeElement === document.body) made.focus();
  });
  return made;
}

function update(card, issue, act) {
  const { status, priority, newest } = issue;
  card.status.textContent = status.display;
  card.status.className = `status ${status.key}`;
  card.priority.textContent = priority.key === 'normal' ? '' : priority.display;
  card.priority.className = `priority ${priority.key}`;
  card.summary.textContent = issue.summary;
  card.pull.hidden = status.type === DONE;
  const stamp = newest.at + newest.what;
  if (card.newest !== stamp) {
    const time = clock(newest.at.replace('+0000', 'Z'));
    card.latest.replaceChildren(make('b', '', newest.by), ` · ${newest.what} · `, time);
    if (card.newest) {
      card.node.classList.remove('moved');
      void card.node.getBoundingClientRect(); // the glow begins anew
      card.node.classList.add('moved');
    }
    card.newest = stamp;
  }
  const ways = JSON.stringify(issue.ways);
  if (card.shown === ways) return;
  const hadFocus = card.ways.contains(document.activeElement);
  card.ways.replaceChildren(...issue.ways.map(({ id, display }) =>
    button(display, 'quiet', () => act({ kind: 'move', key: card.key, way: id }))));
  if (hadFocus) card.ways.querySelector('button')?.focus();
  card.shown = ways;
}

/** Marks the issues to which the bridge has still something to do. */
export function wait(keys) {
  due = new Set(keys);
  for (const { key, waits } of cards.values()) waits.hidden = !due.has(key);
}

/** Forgets all: the stream begins anew. */
export function clear() {
  cards.clear();
  list.replaceChildren();
}
