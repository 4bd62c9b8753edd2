
// Everything in the briefing can be read without this: it leaves the forecasts that hold what is typed, and keeps that
// in the address.
{
  const field = document.getElementById("wanted");
  const status = document.getElementById("wanted-status");
  // Case, accents, and underscores in place of spaces make no difference.
  const fold = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").replaceAll("_", " ").toLowerCase();
  const cards = (place) => Array.from(place.querySelectorAll(".fact"));
  const facts = cards(document).map((card) => [card, fold(card.querySelector("h3, h4").textContent)]);
  const actors = Array.from(document.querySelectorAll(".index a")).map((link) =>
    [document.getElementById(link.hash.slice(1)), fold(link.textContent), link.closest("li")]);

  // The address ends in #PLACE, #q=TEXT or #PLACE&q=TEXT.
  const read = () => {
    const [, place, text] = /^#?([^&=]*?)(?:&?q=(.*))?$/.exec(location.hash) ?? [null, "", undefined];
    try {
      return { place, text: text === undefined ? null : decodeURIComponent(text) };
    } catch {
      return { place, text: null };  // no UTF-8
    }
  };
  const keep = (place) => {
    const text = field.value.trim();
    const hash = place + (text ? `${place ? "&" : ""}q=${encodeURIComponent(text)}` : "");
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  };
  const filter = () => {
    const wanted = fold(field.value.trim());
    let shown = 0;
    for (const [card, text] of facts) {
      card.hidden = !text.includes(wanted);
      shown += !card.hidden;
    }
    for (const [actor, name, entry] of actors) {
      actor.hidden = entry.hidden = !name.includes(wanted) && cards(actor).every((card) => card.hidden);
    }
    const more = shown ? "" : "; tirgn brief --actor NAME adds those of an actor";
    status.textContent = wanted ? `${shown} of ${facts.length} forecasts${more}` : "";
  };
  const arrive = () => {
    const { place, text } = read();
    if (text === null) {
      // A link within the page was followed: what is typed stays.
      if (field.value.trim()) keep(place);
      return;
    }
    field.value = text;
    filter();
    if (place) document.getElementById(place)?.scrollIntoView();
  };

  field.closest("[hidden]").hidden = false;
  field.addEventListener("input", () => { filter(); keep(read().place); });
  addEventListener("hashchange", arrive);
  arrive();
}
