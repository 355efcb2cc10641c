"""The course as static pages, made from the notebooks' stored outputs: nothing is run, nothing is fetched."""
