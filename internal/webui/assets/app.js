// Keeps parts of a page up to date, moves the focus in pictures of ID spaces,
// and copies commands. Every page can be read and used without it.

// Live parts. The server sends an object of HTML by the element's id.
const live = document.querySelector('[data-live]');
const state = document.getElementById('live-state');
if (live) {
  let source;
  const open = () => {
    source = new EventSource(live.dataset.live);
    source.onmessage = (message) => {
      for (const [id, html] of Object.entries(JSON.parse(message.data))) replace(document.getElementById(id), html);
      live.dataset.updated = String(Date.now());
      say('Live');
    };
    source.onerror = () => say('Not live: reconnecting');
  };
  // A page that nobody looks at costs nothing.
  document.addEventListener('visibilitychange', () => {
    source.close();
    if (!document.hidden) open();
  });
  addEventListener('pagehide', () => source.close());
  open();
}

function say(text) {
  if (state && state.textContent !== text) state.textContent = text;
}

// replace keeps the focus where it was, and leaves alone what somebody selects.
function replace(element, html) {
  if (!element) return;
  const selection = getSelection();
  if (selection && !selection.isCollapsed && element.contains(selection.anchorNode)) return;
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  const key = focused && (focused.id || focused.getAttribute('href') || focused.getAttribute('aria-label'));
  element.innerHTML = html;
  if (!key) return;
  for (const candidate of element.querySelectorAll('a, button, [tabindex]')) {
    if (key === (candidate.id || candidate.getAttribute('href') || candidate.getAttribute('aria-label'))) {
      candidate.focus({preventScroll: true});
      return;
    }
  }
}

// Pictures of ID spaces: one stop for the tab key, then arrows from space to
// space; what is pointed at or focused is described below.
for (const picture of document.querySelectorAll('svg.space')) {
  const cells = [...picture.querySelectorAll('[data-first]')];
  const detail = document.getElementById(picture.getAttribute('aria-describedby'));
  if (!cells.length || !detail) continue;
  let at = Math.max(0, cells.findIndex((cell) => cell.hasAttribute('data-selected')));
  cells[at].setAttribute('tabindex', '0');
  const show = (cell) => {
    const title = cell.querySelector('title');
    if (title) detail.textContent = title.textContent;
  };
  const move = (to) => {
    cells[at].setAttribute('tabindex', '-1');
    at = Math.min(cells.length - 1, Math.max(0, to));
    cells[at].setAttribute('tabindex', '0');
    cells[at].focus();
    show(cells[at]);
  };
  picture.addEventListener('mouseover', (event) => {
    const cell = event.target.closest('.cell');
    if (cell) show(cell);
  });
  picture.addEventListener('focusin', (event) => {
    const cell = event.target.closest('.cell');
    if (cell) show(cell);
  });
  picture.addEventListener('click', (event) => {
    const cell = event.target.closest('.cell[data-owner]');
    if (cell) location.search = '?' + new URLSearchParams({owner: cell.dataset.owner});
  });
  picture.addEventListener('keydown', (event) => {
    const steps = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10, Home: -cells.length, End: cells.length};
    if (event.key in steps) {
      event.preventDefault();
      move(at + steps[event.key]);
    } else if (event.key === 'Enter' && cells[at].dataset.owner) {
      location.search = '?' + new URLSearchParams({owner: cells[at].dataset.owner});
    }
  });
}

for (const button of document.querySelectorAll('[data-copy]')) {
  if (!navigator.clipboard) {
    button.hidden = true;
    continue;
  }
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  });
}
