// Fetches the part of the page that says how far the run is, until it has ended.
const box = document.getElementById("live");
const note = document.getElementById("live-note");

async function look() {
  try {
    const answer = await fetch(box.dataset.at);
    if (!answer.ok) throw new Error(answer.status);
    box.innerHTML = await answer.text();
    note.textContent = "";
  } catch (why) {
    note.textContent = "The viewer does not answer. What stands here is not new.";
  }
  again();
}

function again() {
  if (!box.querySelector("[data-over]")) setTimeout(look, 1000);
}

again();
