"""Bounds of everything that reads what others wrote: a larger file or message is refused before memory is taken."""

# Files that users give.
MAX_YAML_BYTES = 1 << 20  # an object of 60 keypoints has 10 kB
MAX_YAML_VALUES = 100_000  # with what aliases stand for written out: ten lines of them can mean gigabytes
MAX_YAML_DEPTH = 50  # lists within lists
MAX_YAML_SCALAR = 20_000  # characters of one value; a number as long as the file would take minutes
MAX_JSON_BYTES = 1 << 30  # the labels of all of COCO have 0.25 GB
MAX_JSON_VALUES = 1 << 26  # with commas within texts; 1,000,000 instances of 17 keypoints have 51 million
MAX_XML_BYTES = 1 << 28  # of meshes, robots and labels; 1,500,000 triangles have half of it
MAX_XML_ELEMENTS = 1 << 23  # 1,500,000 triangles and their corners, even where they share none
MAX_XML_VALUES = 1 << 25  # attributes and words of text
MAX_XML_DEPTH = 200  # elements within elements
MAX_XML_TAG_BYTES = 1 << 20  # of one tag or comment
MAX_TABLE_BYTES = 1 << 28  # .csv
MAX_PICTURE_BYTES = 1 << 29  # of one file
MAX_PROJECT_BYTES = 1 << 37  # of a SLEAP package, which holds pictures; only its labelled frames are read
MAX_OUTLINE_BYTES = 1 << 27  # of an object's outline, packed or not; thousands of views have 10 MB
MAX_NETWORK_BYTES = 1 << 29  # libraries read it whole; a checkpoint with its optimizer has 0.1 GB
MAX_KEYPOINTS = 60  # of an object; far above what a network for a robot finds
MAX_SYMMETRIES = 720  # rotations of an object that look the same; more cannot be told apart in an image
MAX_MESH_FACES = 1_500_000  # triangles, 1 s a picture; a finer one must be simplified first
MAX_MESH_BYTES = 1 << 29  # of a mesh file, unpacked, or a texture; with large textures it has a third of it
MAX_MESH_LINES = 1 << 24  # of a mesh in text; seven for each triangle of an STL file
MAX_TEXTURE_SIDE = 4096  # px; a larger texture is made smaller
MAX_LABELLED_SIDE_PX = 100_000  # image size that a label file states; more is a damaged number

# Images and messages.
MAX_IMAGE_SIDE_PX = 1 << 16  # of a camera calibration
MIN_FOV_DEG = 4  # horizontal; less is most likely meant in radians, and so narrow a lens wants a calibration
MAX_IMAGE_PIXELS = 1 << 26  # 8192 x 8192; more is a mistake or an attack
MAX_IMAGE_HEADER_BYTES = 1 << 20  # of a compressed image, in which its size must be stated
MAX_POSES = 1000  # instances in one message: as many as an object file may allow
MAX_POSES_BYTES = 4 << 20  # of that message, with 60 keypoints each; far more block a node before anybody counts them
MAX_ASPECT = 8  # a wider image is scaled to 8 times the input height in width instead

# Bags.
MAX_BAG_BLOCK_BYTES = 1 << 28  # unpacked; writers make chunks of about 1 MB, or of one image
MAX_BAG_BLOCK_RECORDS = 1 << 20  # in one chunk
MAX_UNPACKED_BYTES = 1 << 30  # of a file that is compressed as a whole, and MAX_UNPACKED_RATIO times its size on top
MAX_UNPACKED_RATIO = 100  # images of a camera get to 3
MAX_SQLITE_STEPS = 10_000_000  # of counting the messages, and one for each byte of the file on top
MAX_SQLITE_TOPICS = 10_000  # with more of them only those that have messages are read
MAX_DEFINITION_BYTES = 1 << 17  # text of one message definition; the longest common ones have 20 kB
MAX_NOTES = 1000  # different remarks about one bag

# Nodes.
MAX_SWITCH_S = 300.0  # for loading another object; TensorRT may build its engine first
