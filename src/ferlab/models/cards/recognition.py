"""Cards of the models in `ferlab/models/recognition.py`."""

CARDS = {
    "face_recognition": {
        "build": "recognition:face_recognition",
        "title": "dlib's face recognition network, its descriptor replaced",
        "depth": 28,
        "parameters": 4_396_359,
        "input_size": 112,
        "sizes": "55-",
        "channels": 3,
        "target_layer": "conv128_2.relu2",
        "options": {"size": 112, "features": "conv256_2", "hidden": 0, "dropout": 0.0, "freeze": "none", "variant": "affine"},
        "pretrained": {
            "hub": "npm:@vladmandic/face-api@1.7.15",
            "file": "model/face_recognition_model-weights_manifest.json",
            "sha256": "c2cf51e45a1f96cf2ba75d6b588dc259d7f602a813ff6efbeba4884d7359fad1",
            "layout": "face_api",
            "colour": "RGB",
            "mean": [122.782 / 255, 117.001 / 255, 104.298 / 255],
            "std": [1.0, 1.0, 1.0],
            "trained_on": "about 3 million faces of 7,485 persons",
        },
        "notes": "Recognition was trained at 150 pixels. `features` and the size were chosen by linear probes on faces of FER2013's Training "
        "(3,000 to fit, 1,500 to score, the best of three penalties): 46.9, 49.6, 51.9 and 49.7 % by conv256_2 at 96, 104, 112 and 150 "
        "pixels, 45.1 to 47.1 % by conv256_down_out. Grad-CAM is computed at the third stage, 6x6 maps; those of the fourth are 3x3. The "
        "weights are dlib's, quantised to 8 bits by face-api.js, but for the blocks of 64 channels; face-api.js divides by 255 where dlib "
        "divides by 256. dlib's author gives the weights to the public domain, face-api.js's package is MIT; the faces (FaceScrub, VGG- "
        "Face, and as many from the web) have terms of their own, and whether photographs of FER2013 are among them is not known. Without "
        "the weights the model is trained from scratch, nothing frozen. "
        "With `features: descriptor`, `hidden` and `freeze: all_but_head` it stands in for FER-Sys's VGG-Face embeddings with a dense head; the "
        "width of the hidden layer is ours, the paper states none. Where you have VGG-Face's own weights, `cs230_vgg16` takes them: their path as "
        "`train.pretrained`, of the layout vgg_dag as `train.pretrained_layout`, and `freeze: paper`.",
    },
}
