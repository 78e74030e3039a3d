// Sends the answer on to the client (response_mode=form_post). The method is taken from the prototype because a field of
// the form may be called "submit" and would stand in its place.
HTMLFormElement.prototype.submit.call(document.getElementById("form_post"));
