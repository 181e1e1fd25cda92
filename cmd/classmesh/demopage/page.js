// Keeps the page up to date while it is looked at, and presses buttons without
// leaving it. Without it, the page loads itself again.
(function () {
  'use strict';

  function show(html) {
    var page = new DOMParser().parseFromString(html, 'text/html');
    each('[data-live]', page, function (old, fresh) { change(old, 'textContent', fresh.textContent); });
    each('[data-live-value]', page, function (old, fresh) { change(old, 'value', fresh.value); });
    each('[data-live-class]', page, function (old, fresh) { change(old, 'className', fresh.className); });
    each('[data-live-href]', page, function (old, fresh) { change(old, 'href', fresh.href); });
    each('[data-live-html]', page, function (old, fresh) { change(old, 'innerHTML', fresh.innerHTML); });
  }

  function each(selector, page, f) {
    Array.prototype.forEach.call(document.querySelectorAll(selector), function (old) {
      var fresh = page.getElementById(old.id);
      if (fresh) {
        f(old, fresh);
      }
    });
  }

  function change(element, property, value) {
    if (element[property] !== value) {
      element[property] = value;
    }
  }

  function update() {
    if (document.hidden) {
      return Promise.resolve();
    }
    return fetch('/').then(function (response) { return response.text(); }).then(show).catch(function () {
      tell('The demo has ended. Start it again with: classmesh demo');
    });
  }

  var failed = document.getElementById('failed');
  function tell(words) {
    failed.textContent = words;
    failed.hidden = words === '';
  }

  document.addEventListener('submit', function (event) {
    var form = event.target;
    var button = event.submitter || form.querySelector('button');
    event.preventDefault();
    var body = new URLSearchParams(new FormData(form));
    body.set(button.name, button.value);
    button.setAttribute('aria-busy', 'true');
    fetch(form.action, { method: 'POST', body: body, redirect: 'manual' }).then(function (response) {
      return response.status === 422 ? response.text() : '';
    }).then(tell, function () { tell('The demo has ended. Start it again with: classmesh demo'); }).then(update).then(function () {
      button.removeAttribute('aria-busy');
    });
  });

  setInterval(update, 500);
  document.addEventListener('visibilitychange', update);
})();
