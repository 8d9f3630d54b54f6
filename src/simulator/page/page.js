// The page: hears what the simulators have and received and what the bridge counts, does deeds, moves switches.
import { clock, make } from './dom.js';
import * as slack from './slack.js';
import * as telegram from './telegram.js';
import * as tracker from './tracker.js';

const NAMES = { slack: 'Slack', telegram: 'Telegram', tracker: 'Tracker' };
const chats = Object.fromEntries(['slack', 'telegram'].map((name) => {
  const section = document.getElementById(name);
  const log = section.querySelector('.log');
  return [name, { name, section, log, messages: new Map(), figure: null, atEnd: true }];
}));
const services = { ...chats, tracker: { name: 'tracker', section: document.getElementById('tracker'), figure: null } };

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

function count(service, figure) {
  const before = service.figure;
  service.figure = figure;
  service.section.querySelector('.delivered').textContent = figure.delivered;
  service.section.querySelector('.pending').textContent = waiting(figure);
  service.section.classList.toggle('waits', waiting(figure) > 0);
  service.section.classList.toggle('troubled', figure.trouble !== 'none');
  service.section.querySelector(`input[value=${figure.trouble}]`).checked = true;
  tell(service);
  const [was, is] = [before && kind(before), kind(figure)];
  if (was !== null && was !== is) speak(`${NAMES[service.name]}: ${waiting(figure)} waiting, ${is}`);
}

/** What waits for Tracker is to be done there, or to be told with what it knows. */
function waiting(figure) {
  return figure.pending + figure.to_route;
}

function kind(figure) {
  if (figure.paused_until) return 'paused';
  if (waiting(figure) === 0) return figure.trouble === 'none' ? 'nothing waits' : 'switched to fail';
  return figure.attempts && !figure.paced_until ? 'trying again' : 'on the way';
}

function tell(service) {
  const state = service.section.querySelector('.state');
  state.textContent = standing(service);
  state.title = state.textContent;
}

function standing({ figure, name }) {
  const pace = name === 'tracker' ? 'on the way' : `leaving at ${NAMES[name]}’s pace`;
  if (figure.paused_until) return `paused until ${later(figure.paused_until)}`;
  if (figure.pending && figure.paced_until) return `${pace}, the next at ${later(figure.paced_until)}`;
  if (figure.pending && figure.attempts) return `tried ${figure.attempts}×: ${figure.reason ?? 'no answer'}`;
  if (figure.pending) return figure.trouble === 'none' ? pace : 'sent, not answered yet';
  if (figure.to_route) return figure.trouble === 'none' ? 'asked for an issue' : 'asked for an issue, no answer yet';
  const next = name === 'tracker' ? 'call' : 'message';
  return figure.trouble === 'none' ? '' : `fails from the next ${next} on`;
}

function later(time) {
  const until = new Date(time);
  return `${until.toLocaleTimeString()} (${Math.max(0, Math.ceil((until - Date.now()) / 1000))} s)`;
}

function speak(text) {
  document.getElementById('spoken').textContent = text;
}

const counts = ({ figure }) => figure?.paused_until || figure?.paced_until;
setInterval(() => Object.values(services).filter(counts).forEach(tell), 500);

// The stream

let triggered; // the last call of a trigger that was shown
const stream = new EventSource('/events');
const heard = (name, take) => stream.addEventListener(name, (event) => take(JSON.parse(event.data)));
stream.addEventListener('open', () => {
  document.getElementById('gone').hidden = true;
  for (const chat of Object.values(chats)) {
    chat.messages.clear();
    chat.log.replaceChildren();
    chat.log.ariaBusy = 'true';
  }
  tracker.clear();
});
stream.addEventListener('error', () => { document.getElementById('gone').hidden = false; });
heard('message', (message) => show(chats[message.chat], message));
heard('gone', ({ chat, id }) => {
  chats[chat].messages.get(id)?.remove();
  chats[chat].messages.delete(id);
});
heard('board', (board) => {
  const news = tracker.show(board, act);
  if (news.length) speak(news.join('. '));
  if (board.sent && board.sent.id !== triggered) {
    if (triggered !== undefined && board.sent.status === 202) ring();
    triggered = board.sent.id;
    showTrigger(board.sent);
  }
});
heard('figures', (figures) => {
  Object.values(services).forEach((service) => count(service, figures[service.name]));
  tracker.wait(figures.to_change);
});
heard('ready', () => {
  for (const chat of Object.values(chats)) {
    chat.log.ariaBusy = 'false';
    toEnd(chat);
  }
  document.getElementById(location.hash.slice(1))?.scrollIntoView({ block: 'nearest' });
});

// What a visitor does

async function post(path, body) {
  const headers = { 'Content-Type': 'application/json' };
  const answer = await fetch(path, { method: 'POST', headers, body: JSON.stringify(body) });
  const json = await answer.json();
  if (!answer.ok) throw new Error(json.error);
  return json;
}

/** Does a deed and says what came of it; whether it was done. */
async function act(deed) {
  try {
    const done = await post('/deed', deed);
    if (done.keys) told(deed, done.keys);
    else sent(done);
    return true;
  } catch (error) {
    say('bad', error.message);
    return false;
  }
}

const DEEDS = { open: 'is made', move: 'is moved', comment: 'has your comment' };

function told({ kind }, keys) {
  const all = keys.length === 1 ? `${keys[0]} ${DEEDS[kind]}` : `${keys[0]} to ${keys.at(-1)} are made`;
  say('good', `${all}. Tracker’s trigger tells the bridge.`);
}

function sent({ endpoint, headers, body, status, answer }) {
  if (status !== 202) return say('bad', `${status}: ${answer.error ?? JSON.stringify(answer)}`);
  say('good', `202: the bridge has the verdict on disk as event ${answer.event}, and moves the issue.`);
  ring();
  const lines = headers.map(([name, value]) => `${name}: ${value}`);
  showCall(endpoint, lines, JSON.stringify(body, null, 2), `${status} ${JSON.stringify(answer)}`);
}

function ring() {
  const tower = document.querySelector('.tower');
  tower.classList.remove('rings');
  void tower.getBoundingClientRect(); // the swing begins anew
  tower.classList.add('rings');
}

function showTrigger({ endpoint, headers, body, status, duration }) {
  const lines = Object.keys(headers).map((name) => `${name}: …`);
  showCall(endpoint, lines, body, status ? `${status} after ${duration} ms` : 'no answer');
}

function showCall(endpoint, headers, body, answer) {
  const call = document.getElementById('call');
  call.hidden = false;
  const head = [`POST ${new URL(endpoint).pathname}`, ...headers, ''];
  call.querySelector('pre').textContent = [...head, body, '', answer].join('\n');
}

const form = document.getElementById('open');
form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const buttons = [...form.querySelectorAll('button')];
  buttons.forEach((button) => { button.disabled = true; });
  const { summary, priority } = form.elements;
  const times = Number(event.submitter?.value ?? 1);
  await act({ kind: 'open', summary: summary.value, priority: priority.value, times });
  buttons.forEach((button) => { button.disabled = false; });
  event.submitter?.focus();
});

function say(mood, text) {
  const answer = document.getElementById('answer');
  answer.className = mood;
  answer.textContent = text;
}

for (const service of Object.values(services)) {
  service.section.querySelector('fieldset').addEventListener('change', async (event) => {
    try {
      await post('/trouble', { service: service.name, trouble: event.target.value });
    } catch (error) {
      say('bad', `The switch did not move: ${error.message}`);
    }
  });
}
