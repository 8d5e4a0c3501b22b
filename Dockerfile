# The environment in a layer of its own, so that an edit of the code does not install it again. docs/platforms.md says how to use the image.
FROM python:3.11-bookworm
WORKDIR /ferlab
ENV PATH=/ferlab/.venv/bin:$PATH
COPY requirements.lock ./
RUN python -m venv .venv && python -m pip install --quiet --no-cache-dir --disable-pip-version-check -r requirements.lock
COPY . .
RUN make .venv/.ready
CMD ["make", "repro"]
