// Marks an answer in place, measures the time it took, and sends it again if
// the device could not be reached.
(function () {
  'use strict';
  var form = document.getElementById('question');
  if (!form || !window.fetch) {
    return;
  }
  var shown = performance.now();
  var check = document.getElementById('check');
  var hint = document.getElementById('hint');
  var slip = document.getElementById('slip');
  var sent = false;

  // Not form.elements: a field named "item" would be hidden by its method.
  function field(name) {
    return form.querySelector('[name="' + name + '"]');
  }
  function show(element, visible) {
    if (element) {
      element.hidden = !visible;
    }
  }
  function verdict(name) {
    show(form.querySelector('[data-verdict="' + name + '"]'), true);
  }

  // Hints come one by one; after the first the answer does not count as right.
  if (hint) {
    hint.setAttribute('role', 'button');
    hint.addEventListener('click', function (event) {
      event.preventDefault();
      if (sent) {
        return;
      }
      field('hinted').value = '1';
      show(document.getElementById('hints'), true);
      show(document.getElementById('hint-counts'), false);
      var next = form.querySelector('#hints li[hidden]');
      show(next, true);
      show(hint, Boolean(form.querySelector('#hints li[hidden]')));
    });
    hint.addEventListener('keydown', function (event) {
      if (event.key === ' ') {
        event.preventDefault();
        hint.click();
      }
    });
  }

  function answer() {
    var chosen = form.querySelector('input[name=answer]:checked');
    return chosen ? chosen.value : field('answer').value;
  }

  // lock says whether the answer can be changed.
  function lock(locked) {
    sent = locked;
    check.disabled = locked;
    var inputs = form.querySelectorAll('input[name=answer]');
    for (var i = 0; i < inputs.length; i++) {
      inputs[i].disabled = locked;
    }
  }

  form.addEventListener('submit', function (event) {
    event.preventDefault();
    if (sent) {
      return;
    }
    var body = {
      id: field('id').value,
      exercise: form.getAttribute('data-exercise'),
      item: field('item').value,
      seed: Number(field('seed').value),
      answer: answer(),
      hinted: field('hinted').value === '1',
      ms_taken: Math.round(performance.now() - shown)
    };
    lock(true);
    show(slip, false);
    window.classmesh.send('/api/v1/attempts', body, function (waiting) {
      show(document.getElementById('unsaved'), waiting);
    }, function (status, result) {
      if (status === 200) {
        marked(result);
      } else if (status === 401) {
        location.assign('/signin?next=' + encodeURIComponent(location.pathname));
      } else if (status === 409) {
        verdict('answered');
        end();
      } else {
        slip.textContent = result.error.message;
        show(slip, true);
        lock(false);
        field('answer').focus();
      }
    });
  });

  function marked(result) {
    verdict(result.counts ? 'right' : result.correct ? 'hinted' : 'wrong');
    if (result.completed) {
      verdict('completed');
    }
    if (!result.correct) { // the hints explain it
      var hints = form.querySelectorAll('#hints li');
      for (var i = 0; i < hints.length; i++) {
        hints[i].hidden = false;
      }
      show(document.getElementById('hints'), hints.length > 0);
    }
    show(document.querySelector('.after'), result.progress.status === 'complete');
    end();
    refresh();
  }

  function end() {
    show(check, false);
    show(hint, false);
    show(document.getElementById('hint-counts'), false);
    var next = document.getElementById('next');
    show(next, true);
    next.querySelector('a').focus();
  }

  // The bar and the ticks are taken from the page as it is now.
  function refresh() {
    fetch(location.pathname, { credentials: 'same-origin' }).then(function (response) {
      return response.ok ? response.text() : Promise.reject(response.status);
    }).then(function (html) {
      var fresh = new DOMParser().parseFromString(html, 'text/html').getElementById('streak');
      if (fresh) {
        document.getElementById('streak').innerHTML = fresh.innerHTML;
      }
    }).catch(function () { /* the next page shows it */ });
  }
})();
