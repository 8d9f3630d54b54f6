// The page: hears what the simulators received and what the bridge counts, fires triggers, moves switches.
import { clock, make } from './dom.js';
import * as slack from './slack.js';
import * as telegram from './telegram.js';

const NAMES = { slack: 'Slack', telegram: 'Telegram' };
const chats = Object.fromEntries(Object.keys(NAMES).map((name) => {
  const section = document.getElementById(name);
  const log = section.querySelector('.log');
  return [name, { name, section, log, messages: new Map(), figure: null, atEnd: true }];
}));

// Who reads the newest message stays with the newest, also when the window or the strip above changes.
for (const chat of Object.values(chats)) {
  chat.log.addEventListener('scroll', () => {
    chat.atEnd = chat.log.scrollHeight - chat.log.scrollTop - chat.log.clientHeight < 60;
  });
  new ResizeObserver(() => { if (chat.atEnd) toEnd(chat); }).observe(chat.log);
}

function toEnd(chat) {
  chat.log.scrollTop = chat.log.scrollHeight;
}

// Messages

function show(chat, message) {
  const known = chat.messages.get(message.id);
  const node = (chat.name === 'slack' ? slackMessage : telegramMessage)(message, chat);
  if (known) {
    const replies = known.querySelector(':scope > .body > .thread');
    if (replies) node.querySelector('.body').append(replies);
    known.replaceWith(node);
  } else {
    const parent = chat.name === 'slack' && chat.messages.get(message.thread);
    if (parent) threadOf(parent).append(node);
    else chat.log.append(node);
    if (chat.atEnd) toEnd(chat);
  }
  chat.messages.set(message.id, node);
}

function slackMessage(message) {
  const head = make('div', 'head', make('b', 'name', 'Campanile'), make('span', 'badge', 'APP'), clock(message.at));
  const text = make('div', 'text', ...slack.content(message.shown));
  if (message.edits) lastLine(text).append(' ', make('span', 'edited', '(edited)'));
  return article(bell(), make('div', 'body', head, text));
}

function lastLine(element) {
  const last = element.lastElementChild;
  return last?.matches('div, p') ? lastLine(last) : element;
}

function telegramMessage(message, chat) {
  const bubble = make('div', 'body', make('b', 'name', 'Campanile'));
  const parent = chat.messages.get(message.thread);
  if (parent) {
    const [line] = parent.querySelector('.text').innerText.split('\n');
    bubble.append(make('div', 'reply', make('b', '', 'Campanile'), line));
  }
  bubble.append(make('div', 'text', ...telegram.content(message.shown)));
  bubble.append(make('div', 'meta', ...(message.edits ? ['edited '] : []), clock(message.at)));
  return article(bell(), make('div', 'stack', bubble, ...telegram.keyboard(message.shown.reply_markup)));
}

function article(...children) {
  return make('article', 'message', ...children);
}

function bell() {
  const avatar = make('span', 'avatar bell');
  avatar.ariaHidden = 'true';
  return avatar;
}

function threadOf(parent) {
  const body = parent.querySelector(':scope > .body');
  return body.querySelector(':scope > .thread') ?? body.appendChild(make('div', 'thread'));
}

// Figures

function count(chat, figure) {
  const before = chat.figure;
  chat.figure = figure;
  chat.section.querySelector('.delivered').textContent = figure.delivered;
  chat.section.querySelector('.pending').textContent = figure.pending;
  chat.section.classList.toggle('waits', figure.pending > 0);
  chat.section.classList.toggle('troubled', figure.trouble !== 'none');
  chat.section.querySelector(`input[value=${figure.trouble}]`).checked = true;
  tell(chat);
  const [was, is] = [before && kind(before), kind(figure)];
  if (was !== null && was !== is) {
    document.getElementById('spoken').textContent = `${NAMES[chat.name]}: ${figure.pending} waiting, ${is}`;
  }
}

function kind(figure) {
  if (figure.paused_until) return 'paused';
  if (figure.pending === 0) return figure.trouble === 'none' ? 'all delivered' : 'switched to fail';
  return figure.attempts && !figure.paced_until ? 'trying again' : 'on the way';
}

function tell(chat) {
  const { figure, section, name } = chat;
  const state = section.querySelector('.state');
  const pace = `leaving at ${NAMES[name]}’s pace`;
  if (figure.paused_until) {
    state.textContent = `paused until ${later(figure.paused_until)}`;
  } else if (figure.pending && figure.paced_until) {
    state.textContent = `${pace}, the next at ${later(figure.paced_until)}`;
  } else if (figure.pending && figure.attempts) {
    state.textContent = `tried ${figure.attempts}×: ${figure.reason ?? 'no answer'}`;
  } else if (figure.pending) {
    state.textContent = figure.trouble === 'none' ? pace : 'sent, not answered yet';
  } else {
    state.textContent = figure.trouble === 'none' ? '' : 'fails from the next message on';
  }
  state.title = state.textContent;
}

function later(time) {
  const until = new Date(time);
  return `${until.toLocaleTimeString()} (${Math.max(0, Math.ceil((until - Date.now()) / 1000))} s)`;
}

const waits = ({ figure }) => figure?.paused_until || figure?.paced_until;
setInterval(() => Object.values(chats).filter(waits).forEach(tell), 500);

// The stream

const stream = new EventSource('/events');
const heard = (name, take) => stream.addEventListener(name, (event) => take(JSON.parse(event.data)));
stream.addEventListener('open', () => {
  document.getElementById('gone').hidden = true;
  for (const chat of Object.values(chats)) {
    chat.messages.clear();
    chat.log.replaceChildren();
    chat.log.ariaBusy = 'true';
  }
});
stream.addEventListener('error', () => { document.getElementById('gone').hidden = false; });
heard('message', (message) => show(chats[message.chat], message));
heard('gone', ({ chat, id }) => {
  chats[chat].messages.get(id)?.remove();
  chats[chat].messages.delete(id);
});
heard('figures', (figures) => Object.values(chats).forEach((chat) => count(chat, figures[chat.name])));
heard('ready', () => Object.values(chats).forEach((chat) => {
  chat.log.ariaBusy = 'false';
  toEnd(chat);
}));

// What a visitor does

async function post(path, body) {
  const headers = { 'Content-Type': 'application/json' };
  const answer = await fetch(path, { method: 'POST', headers, body: JSON.stringify(body) });
  const json = await answer.json();
  if (!answer.ok) throw new Error(json.error);
  return json;
}

const form = document.getElementById('trigger');
form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const buttons = [...form.querySelectorAll('button')];
  buttons.forEach((button) => { button.disabled = true; });
  try {
    const times = Number(event.submitter?.value ?? 1);
    const { fired } = await post('/trigger', { trigger: trigger(), times });
    answered(fired);
  } catch (error) {
    say('bad', `Not fired: ${error.message}`);
  } finally {
    buttons.forEach((button) => { button.disabled = false; });
    event.submitter?.focus();
  }
});

function trigger() {
  const { event, summary, priority, status, comment } = form.elements;
  const body = { event: event.value, summary: summary.value, actor: 'visitor', actor_name: 'You' };
  for (const select of [priority, status]) {
    if (!select.value) continue;
    body[select.name] = select.value;
    body[`${select.name}_name`] = select.selectedOptions[0].text.replace(/ \(.*/, '');
  }
  if (comment.value.trim()) body.comment = { text: comment.value };
  return body;
}

function answered(fired) {
  const last = fired.at(-1);
  const stored = fired.filter(({ status }) => status === 202);
  const tower = document.querySelector('.tower');
  tower.classList.remove('rings');
  void tower.getBoundingClientRect(); // the swing begins anew
  if (stored.length) tower.classList.add('rings');
  if (stored.length < fired.length) {
    const odd = fired.find(({ status }) => status !== 202);
    say('bad', `${odd.status}: ${odd.answer.error ?? JSON.stringify(odd.answer)}`);
  } else if (fired.length > 1) {
    say('good', `${fired.length} × 202: all on disk, as events ${fired[0].answer.event} to ${last.answer.event}`);
  } else {
    const places = last.answer.deliveries === 1 ? 'one message' : `${last.answer.deliveries} messages`;
    say('good', `202: on disk as event ${last.answer.event}, ${places} to place`);
  }
  const call = document.getElementById('call');
  call.hidden = false;
  const head = ['POST /hooks/tracker', 'Authorization: Bearer …', 'Content-Type: application/json', ''];
  const answer = `${last.status} ${JSON.stringify(last.answer)}`;
  call.querySelector('pre').textContent = [...head, JSON.stringify(last.sent, null, 2), '', answer].join('\n');
}

function say(mood, text) {
  const answer = document.getElementById('answer');
  answer.className = mood;
  answer.textContent = text;
}

for (const chat of Object.values(chats)) {
  chat.section.querySelector('fieldset').addEventListener('change', async (event) => {
    try {
      await post('/trouble', { messenger: chat.name, trouble: event.target.value });
    } catch (error) {
      say('bad', `The switch did not move: ${error.message}`);
    }
  });
}
