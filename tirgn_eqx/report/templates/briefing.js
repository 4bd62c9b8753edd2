
// Everything in the briefing can be read without this: it leaves the forecasts that hold what is typed, and keeps that
// in the address.
{
  const field = document.getElementById("wanted");
  const status = document.getElementById("wanted-status");
  const facts = Array.from(document.querySelectorAll(".fact")).map((card) => [card, card.querySelector("h3, h4").textContent.toLowerCase()]);
  const links = new Map(Array.from(document.querySelectorAll(".index a")).map((link) => [link.hash.slice(1), link.closest("li")]));

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
    const wanted = field.value.trim().toLowerCase();
    let shown = 0;
    for (const [card, text] of facts) {
      card.hidden = !text.includes(wanted);
      shown += !card.hidden;
    }
    for (const actor of document.querySelectorAll(".actor")) {
      const cards = Array.from(actor.querySelectorAll(".fact"));
      const named = actor.querySelector("h3").textContent.toLowerCase().includes(wanted);
      actor.hidden = !named && cards.every((card) => card.hidden);
      links.get(actor.id).hidden = actor.hidden;
    }
    status.textContent = wanted ? `${shown} of ${facts.length} forecasts` : "";
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
